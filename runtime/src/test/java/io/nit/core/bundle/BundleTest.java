package io.nit.core.bundle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.tensor.DType;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class BundleTest {
  private static final NitConfig CONFIG =
      NitConfig.s().with(Map.of("in_channels", 48, "patch_size", 2, "num_classes", 3));

  @TempDir Path folder;

  @Test
  void aLearnedCodecNeedsItsFiles() throws IOException {
    DcAeSpec spec = new DcAeSpec(GeneratedDcAe.small(), Optional.empty());
    Bundle plain = written();
    for (String name : List.of("decoder.onnx", "encoder.onnx")) {
      Files.writeString(folder.resolve(name), name);
    }
    AutoencoderFiles files =
        new AutoencoderFiles(
            Optional.of("encoder.onnx"), "decoder.onnx", Optional.empty(), DType.F16, DType.F32);
    List<Bundle.FileEntry> listed = new ArrayList<>(plain.files());
    listed.add(Bundle.describe(folder.resolve("decoder.onnx")));
    learned(plain, spec, Optional.of(files), listed).write();
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> Bundle.open(folder))
            .getMessage()
            .contains("autoencoder: expected names listed in files, found 'encoder.onnx'"));
    listed.add(Bundle.describe(folder.resolve("encoder.onnx")));
    learned(plain, spec, Optional.of(files), listed).write();
    Bundle opened = Bundle.open(folder);
    assertEquals(Optional.of(spec), opened.codec());
    assertEquals(Optional.of(files), opened.autoencoder());
    assertEquals(Optional.of(8), opened.sizeMultiple());
    learned(plain, spec, Optional.empty(), listed).write();
    assertTrue(
        assertThrows(IllegalArgumentException.class, () -> Bundle.open(folder))
            .getMessage()
            .contains("autoencoder: expected the files of the dc-ae codec, found null"));
  }

  @Test
  void aDecoderThatCanOverflowNeedsOneThatCannot() {
    assertThrows(
        IllegalArgumentException.class,
        () ->
            new AutoencoderFiles(
                Optional.empty(), "decoder.onnx", Optional.empty(), DType.F16, DType.F16));
  }

  @Test
  void aManifestRoundTrips() throws IOException {
    Bundle written = written();
    Bundle opened = Bundle.open(folder);
    assertEquals(CONFIG, opened.config());
    assertEquals(List.of("cat", "é", "zebra"), opened.labels());
    assertEquals(written.defaults(), opened.defaults());
    assertEquals(written.files(), opened.files());
    assertEquals(4096, opened.maxTokens());
    assertEquals("BF16", opened.weights());
    assertEquals(18, opened.opset());
    assertEquals(folder.resolve("model.onnx"), opened.model());
    assertEquals(written.verification(), opened.verification());
    assertEquals(written.provenance(), opened.provenance());
    assertEquals(Optional.of(8), opened.sizeMultiple()); // factor 4 × patch 2
    assertEquals(new SpaceToDepthCodec(4, 2, 0.5f), opened.codec().orElseThrow());
    opened.verifyHashes();
  }

  @Test
  void aBundleWithoutCodecMakesLatentsOnly() throws IOException {
    written();
    change("codec", "null");
    Bundle opened = Bundle.open(folder);
    assertEquals(Optional.empty(), opened.sizeMultiple());
    assertTrue(opened.codec().isEmpty());
  }

  @Test
  void settingsThatAreAbsentTakeTheStandardOnes() throws IOException {
    written();
    change("defaults", "null");
    assertEquals(Bundle.SamplingDefaults.STANDARD, Bundle.open(folder).defaults());
  }

  @Test
  void aChangedFileIsFoundByItsHash() throws IOException {
    written();
    Files.write(folder.resolve("model.onnx"), new byte[] {1, 2, 4});
    Bundle opened = Bundle.open(folder);
    String message = assertThrows(IOException.class, opened::verifyHashes).getMessage();
    assertTrue(message.contains("model.onnx: expected sha256 039058c6f2c0cb49"), message);
  }

  @Test
  void aFileOfAnotherSizeIsRefused() throws IOException {
    written();
    Files.write(folder.resolve("model.onnx"), new byte[4]);
    String message = assertThrows(IOException.class, () -> Bundle.open(folder)).getMessage();
    assertTrue(message.endsWith("model.onnx: expected 3 bytes, found 4"), message);
  }

  @Test
  void aMissingFileOrManifestIsNamed() throws IOException {
    assertTrue(
        assertThrows(NoSuchFileException.class, () -> Bundle.open(folder))
            .getMessage()
            .contains("bundle.json"));
    written();
    Files.delete(folder.resolve("model.onnx"));
    assertTrue(
        assertThrows(NoSuchFileException.class, () -> Bundle.open(folder))
            .getFile()
            .endsWith("model.onnx"));
  }

  /** A field of the manifest, its new value, and what the message must say. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "format | \"zip\" | format: expected nit-bundle, found \"zip\"",
        "version | 2 | version: expected 1, found 2; export the checkpoint again",
        "version | null | version: expected 1",
        "config | null | config: expected a JSON object",
        "config | {\"depth\": 1} | config: hidden_size: expected an integer, found nothing",
        "config | {\"depth\": 1, \"hidden_size\": 8, \"num_heads\": 1} | codec: expected 32 channels (config.in_channels), found 48",
        "codec | {\"type\": \"vae\"} | codec.type: expected space-to-depth or dc-ae, found vae",
        "autoencoder | {\"decoder\": \"d.onnx\"} | autoencoder: expected none, found {",
        "max_tokens | 0 | max_tokens: expected 1 or more, found 0",
        "max_tokens | -5 | max_tokens: expected 1 or more, found -5",
        "model | {\"file\": \"../model.onnx\"} | expected a file name in the bundle's folder, found '../model.onnx'",
        "model | {\"file\": \"/etc/passwd\"} | expected a file name in the bundle's folder",
        "model | {} | expected a file name in the bundle's folder, found ''",
        "model | {\"file\": \"other.onnx\"} | model.file: expected a name listed in files, found 'other.onnx'",
        "files | [] | model.file: expected a name listed in files",
        "files | [{\"name\": \"../../etc/passwd\", \"bytes\": 3}] | expected a file name in the bundle's folder",
        "files | [{\"name\": \"a\\\\b\", \"bytes\": 3}] | expected a file name in the bundle's folder",
        "files | [{\"name\": \"..\", \"bytes\": 3}] | expected a file name in the bundle's folder",
        "defaults | {\"sampler\": \"dpm\"} | defaults: sampler: expected one of euler, heun, sde; found 'dpm'",
        "defaults | {\"steps\": 0} | defaults: steps: expected 1..100000",
        "defaults | {\"guidance\": -1} | defaults: guidance: expected a scale",
        "defaults | {\"guidance_interval\": [0.8, 0.2]} | defaults: guidance interval",
      })
  void badManifestsAreRefusedByField(String field, String value, String message)
      throws IOException {
    written();
    change(field, value);
    String found =
        assertThrows(IllegalArgumentException.class, () -> Bundle.open(folder)).getMessage();
    assertTrue(found.contains("bundle.json") && found.contains(message), found);
  }

  @Test
  void whatIsNoManifestIsRefused() throws IOException {
    for (String text : List.of("", "{", "[]", "{\"a\": 1, \"a\": 2}", "{} {}")) {
      Files.writeString(folder.resolve("bundle.json"), text);
      String found =
          assertThrows(IllegalArgumentException.class, () -> Bundle.open(folder)).getMessage();
      assertTrue(found.contains("bundle.json"), found);
    }
  }

  private Bundle written() throws IOException {
    Path model = Files.write(folder.resolve("model.onnx"), new byte[] {1, 2, 3});
    JsonNodeFactory json = JsonNodeFactory.instance;
    Bundle bundle =
        new Bundle(
            folder,
            CONFIG,
            "model.onnx",
            "BF16",
            18,
            Optional.of(new SpaceToDepthCodec(4, 2, 0.5f)),
            Optional.empty(),
            List.of("cat", "é", "zebra"),
            4096,
            new Bundle.SamplingDefaults(20, "heun", 1.5, 0.1, 0.8),
            List.of(Bundle.describe(model)),
            json.arrayNode().add(json.objectNode().put("relative", 1e-6)),
            json.objectNode().put("tool", "test"));
    bundle.write();
    return bundle;
  }

  /** The bundle with a learned codec. */
  private static Bundle learned(
      Bundle bundle,
      DcAeSpec spec,
      Optional<AutoencoderFiles> autoencoder,
      List<Bundle.FileEntry> files) {
    return new Bundle(
        bundle.folder(),
        bundle.config().with(Map.of("in_channels", spec.channels(), "patch_size", 1)),
        bundle.modelFile(),
        bundle.weights(),
        bundle.opset(),
        Optional.of(spec),
        autoencoder,
        bundle.labels(),
        bundle.maxTokens(),
        bundle.defaults(),
        files,
        bundle.verification(),
        bundle.provenance());
  }

  private void change(String field, String value) throws IOException {
    ObjectMapper mapper = new ObjectMapper();
    Path file = folder.resolve(Bundle.MANIFEST);
    ObjectNode manifest = (ObjectNode) mapper.readTree(file.toFile());
    manifest.set(field, mapper.readTree(value));
    Files.writeString(file, manifest.toString());
  }
}
