package io.nit.exporter.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import io.nit.core.bundle.AutoencoderBundle;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Sha256;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.exporter.verify.AutoencoderVerifier;
import io.nit.testing.CapturedRun;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class AutoencoderExportTest {
  private static final DcAeConfig SMALL = GeneratedDcAe.small(); // f8c8
  private static final NitConfig TINY =
      TinyBundle.CONFIG.with(Map.of("in_channels", 8, "projector_dim", 20, "z_dim", 12));

  @TempDir Path folder;

  private Path autoencoder;
  private String error = "";

  @BeforeEach
  void writeAutoencoder() throws IOException {
    autoencoder = GeneratedDcAe.write(folder.resolve("ae"), SMALL);
  }

  // ------------------------------------------------------------------ with a model

  @Test
  void theBundleHoldsTheAutoencoderVerified() throws IOException {
    assertEquals(0, export("--checkpoint", nit(null), "--autoencoder", "ae"), error);
    Bundle bundle = Bundle.open(folder.resolve("out"));
    bundle.verifyHashes();
    String hash = Sha256.of(autoencoder.resolve(DcAeFolder.WEIGHTS));
    assertEquals(Optional.of(new DcAeSpec(SMALL, Optional.of(hash))), bundle.codec());
    assertEquals(
        Optional.of(
            new AutoencoderFiles(
                Optional.of("encoder.onnx"),
                "decoder.onnx",
                Optional.empty(),
                DType.F32,
                DType.F32)),
        bundle.autoencoder());
    assertEquals(
        List.of("bundle.json", "decoder.onnx", "encoder.onnx", "model.onnx"),
        names(folder.resolve("out")));
    assertEquals(Optional.of(8), bundle.sizeMultiple());
    assertEquals("ae", bundle.provenance().get("autoencoder").asText());
    for (String file : List.of("encoder.onnx", "decoder.onnx")) {
      List<JsonNode> entries = entries(bundle.verification(), file);
      assertEquals(4, entries.size(), bundle.verification().toPrettyString());
      for (JsonNode entry : entries) {
        assertEquals(5e-5, entry.get("bound").asDouble());
        assertTrue(entry.get("passed").asBoolean(), entry::toString);
        assertTrue(entry.get("relative").asDouble() > 0, "two implementations never agree");
      }
    }
    JsonNode picture = bundle.verification().get(4); // after three packs and the latents
    assertTrue(picture.get("pack").asText().endsWith(", picture"), picture::toString);
    assertTrue(
        picture.get("psnr_db").asText().equals("equal") || picture.get("psnr_db").asDouble() > 50,
        picture::toString);
    assertEquals(List.of("ae", "model.safetensors", "out"), names(folder));
  }

  @Test
  void aBundleThatOnlyMakesPicturesNeedsNoEncoder() throws IOException {
    assertEquals(
        0, export("--checkpoint", nit(null), "--autoencoder", "ae", "--no-encoder"), error);
    Bundle bundle = Bundle.open(folder.resolve("out"));
    bundle.verifyHashes();
    assertTrue(bundle.autoencoder().orElseThrow().encoder().isEmpty());
    assertEquals(
        List.of("bundle.json", "decoder.onnx", "model.onnx"), names(folder.resolve("out")));
    assertEquals(4, entries(bundle.verification(), "decoder.onnx").size());
    assertEquals(0, entries(bundle.verification(), "encoder.onnx").size());
  }

  @Test
  void theWeightsAreStoredAsTheModelsUnlessToldOtherwise() throws IOException {
    assertEquals(
        0,
        export("--checkpoint", nit(null), "--autoencoder", "ae", "--dtype", "bf16", "--no-verify"));
    Bundle bundle = Bundle.open(folder.resolve("out"));
    assertEquals(DType.BF16, bundle.autoencoder().orElseThrow().weights());
    assertEquals(
        0,
        export(
            "--checkpoint",
            nit(null),
            "--autoencoder",
            "ae",
            "--dtype",
            "bf16",
            "--autoencoder-dtype",
            "f16",
            "--no-verify",
            "--overwrite"));
    bundle = Bundle.open(folder.resolve("out"));
    assertEquals("BF16", bundle.weights());
    assertEquals(DType.F16, bundle.autoencoder().orElseThrow().weights());
    assertEquals(DType.F32, bundle.autoencoder().orElseThrow().compute(), "not without the flag");
  }

  @Test
  void replacingByABundleWithoutAutoencoderRemovesItsFiles() throws IOException {
    assertEquals(0, export("--checkpoint", nit(null), "--autoencoder", "ae", "--no-verify"));
    assertEquals(0, export("--checkpoint", nit(null), "--no-verify", "--overwrite"));
    assertEquals(List.of("bundle.json", "model.onnx"), names(folder.resolve("out")));
    assertTrue(Bundle.open(folder.resolve("out")).codec().isEmpty());
  }

  @Test
  void latentsOfAnAutoencoderThatIsNotGivenMakeABundleOfLatentsAndAWarning() throws IOException {
    String codec = new DcAeSpec(SMALL, Optional.empty()).toNode().toString();
    assertEquals(0, export("--checkpoint", nit(codec), "--no-verify"), error);
    Bundle bundle = Bundle.open(folder.resolve("out"));
    assertTrue(bundle.codec().isEmpty());
    assertTrue(bundle.autoencoder().isEmpty());
    assertTrue(error.contains("WARN"), error);
    assertTrue(error.contains("latents only: --autoencoder DIR adds it"), error);
  }

  @Test
  void theAutoencoderThatTheModelWasTrainedOnIsTakenInSilence() throws IOException {
    String codec = DcAeFolder.open(autoencoder).spec().toNode().toString();
    assertEquals(
        0, export("--checkpoint", nit(codec), "--autoencoder", "ae", "--no-verify"), error);
    assertEquals("", error);
    assertTrue(Bundle.open(folder.resolve("out")).codec().isPresent());
  }

  @Test
  void otherWeightsThanTheModelWasTrainedOnAreTakenWithAWarning() throws IOException {
    String other = "0123456789abcdef".repeat(4);
    String codec = new DcAeSpec(SMALL, Optional.of(other)).toNode().toString();
    assertEquals(
        0, export("--checkpoint", nit(codec), "--autoencoder", "ae", "--no-verify"), error);
    assertTrue(error.contains("WARN"), error);
    assertTrue(error.contains(other), error);
    assertTrue(error.contains(Sha256.of(autoencoder.resolve(DcAeFolder.WEIGHTS))), error);
  }

  @Test
  void anAutoencoderOfAnotherKindThanTheModelWasTrainedOnIsRefusedWithBothValues()
      throws IOException {
    DcAeSpec scaled = new DcAeSpec(SMALL.withScalingFactor(0.25), Optional.empty());
    refused(
        "expected scaling factor 0.25",
        "found 0.5",
        "--checkpoint",
        nit(scaled.toNode().toString()),
        "--autoencoder",
        "ae");
    SpaceToDepthCodec plain = new SpaceToDepthCodec(1);
    NitConfig three = TINY.with(Map.of("in_channels", 3));
    refused(
        "expected 3 channels (in_channels)",
        "found 8 with factor 8",
        "--checkpoint",
        nit(three, plain.toNode().toString()),
        "--autoencoder",
        "ae");
    DcAeConfig coarse = coarse();
    refused(
        "expected factor 16",
        "found 8",
        "--checkpoint",
        nit(new DcAeSpec(coarse, Optional.empty()).toNode().toString()),
        "--autoencoder",
        "ae");
  }

  /** One stage more than SMALL, the same latent channels. */
  private static DcAeConfig coarse() {
    List<DcAeConfig.Stage> stages = new ArrayList<>(SMALL.encoder());
    stages.add(stages.get(3));
    return new DcAeConfig(
        8, 8, stages, stages, false, true, true, true, DcAeConfig.Activation.RELU, 0.5);
  }

  @Test
  void optionsThatDoNotFitAreRefused() throws IOException {
    String nit = nit(null);
    refused(
        "--codec and --autoencoder: expected one of them",
        "found both",
        "--checkpoint",
        nit,
        "--autoencoder",
        "ae",
        "--codec",
        "space-to-depth",
        "--codec-factor",
        "2");
    refused(
        "--autoencoder-compute: expected one of f32, f16",
        "found 'bf16'",
        "--checkpoint",
        nit,
        "--autoencoder",
        "ae",
        "--autoencoder-compute",
        "bf16");
    refused(
        "--autoencoder-dtype: expected one of f32, f16, bf16",
        "found 'int8'",
        "--checkpoint",
        nit,
        "--autoencoder",
        "ae",
        "--autoencoder-dtype",
        "int8");
    for (String flag : List.of("--autoencoder-compute", "--autoencoder-dtype")) {
      refused(flag + ": expected --autoencoder", "found none", "--checkpoint", nit, flag, "f16");
    }
    refused(
        "--no-encoder: expected --autoencoder", "found none", "--checkpoint", nit, "--no-encoder");
    refused("--checkpoint: expected a file or folder", "found nothing", "--no-verify");
  }

  @Test
  void aStopWhileTheAutoencoderIsVerifiedOrWrittenLeavesNothing() throws IOException {
    StopSignal stop = StopSignal.none();
    stop.request();
    ExportOptions options =
        new ExportOptions(
            Path.of(nit(null)),
            Optional.empty(),
            Optional.empty(),
            folder.resolve("out"),
            DType.F32,
            Optional.empty(),
            Optional.empty(),
            Optional.of(new AutoencoderOptions(autoencoder, DType.F32, DType.F32, true)),
            Optional.empty(),
            16,
            true,
            false,
            true);
    assertThrows(CancellationException.class, () -> new BundleExport(options, stop).run());
    assertThrows(
        CancellationException.class,
        () ->
            ExportAutoencoder.export(
                options.autoencoder().orElseThrow(),
                folder.resolve("out"),
                true,
                false,
                true,
                stop));
    assertEquals(List.of("ae", "model.safetensors"), names(folder));
  }

  @Test
  void aStopDuringTheVerificationEndsItBetweenTwoLayers() throws Exception {
    assertEquals(0, export("autoencoder", "--autoencoder", "ae", "--no-verify"), error);
    AutoencoderBundle bundle = AutoencoderBundle.open(folder.resolve("out"));
    AtomicInteger asked = new AtomicInteger();
    try (TensorSource weights = DcAeFolder.open(autoencoder).openWeights()) {
      verify(bundle, weights, asked::incrementAndGet);
      int all = asked.get();
      assertTrue(all > weights.specs().size(), "asked at every layer: " + all);
      asked.set(0);
      Runnable stopped =
          () -> {
            if (asked.incrementAndGet() >= all / 2) {
              throw new CancellationException("stopped");
            }
          };
      assertThrows(CancellationException.class, () -> verify(bundle, weights, stopped));
      assertEquals(all / 2, asked.get(), "nothing is computed after it");
    }
  }

  private static void verify(AutoencoderBundle bundle, TensorSource weights, Runnable goOn)
      throws Exception {
    AutoencoderVerifier.verify(
        bundle.folder(), bundle.codec(), bundle.autoencoder(), weights, goOn);
  }

  // ------------------------------------------------------------------ alone

  @Test
  void anAutoencoderAloneBecomesTwoVerifiedFilesAndAManifest() throws IOException {
    assertEquals(0, export("autoencoder", "--autoencoder", "ae"), error);
    AutoencoderBundle bundle = AutoencoderBundle.open(folder.resolve("out"));
    assertEquals(DcAeFolder.open(autoencoder).spec(), bundle.codec());
    assertEquals(List.of("autoencoder.json", "decoder.onnx", "encoder.onnx"), names("out"));
    for (Bundle.FileEntry file : bundle.files()) {
      assertEquals(Sha256.of(folder.resolve("out").resolve(file.name())), file.sha256());
    }
    assertEquals(8, bundle.verification().size());
    assertEquals("ae", bundle.provenance().get("autoencoder").asText());
    assertEquals(List.of("ae", "out"), names(folder));
    String whole = Files.readString(folder.resolve("out/autoencoder.json"));
    assertFalse(whole.contains(folder.toString()), "names no place on this machine");
  }

  @ParameterizedTest
  @ValueSource(strings = {"f16", "bf16"})
  void sixteenBitWeightsAreProvedOnRoundedWeightsAndTheirOwnErrorIsToldBeside(String dtype)
      throws IOException {
    assertEquals(0, export("autoencoder", "--autoencoder", "ae", "--autoencoder-dtype", dtype));
    JsonNode verification = AutoencoderBundle.open(folder.resolve("out")).verification();
    double rounded = 0;
    double original = 0;
    for (JsonNode entry : verification) {
      if (entry.get("against").asText().equals("reference")) {
        rounded = Math.max(rounded, entry.get("relative").asDouble());
      } else {
        original = Math.max(original, entry.get("relative").asDouble());
      }
    }
    assertTrue(rounded <= 5e-5, "on the same weights: " + rounded);
    assertTrue(original > 1e-4 && original < 0.2, "what rounding costs: " + original);
  }

  @Test
  void halfPrecisionIsWrittenWhenAskedForWithASecondDecoderAndTheReason() throws IOException {
    assertEquals(
        0, export("autoencoder", "--autoencoder", "ae", "--autoencoder-compute", "f16"), error);
    assertTrue(error.contains("WARN"), error);
    assertTrue(error.contains("half precision ends at 65504"), error);
    AutoencoderBundle bundle = AutoencoderBundle.open(folder.resolve("out"));
    assertEquals(DType.F16, bundle.autoencoder().compute());
    assertEquals(Optional.of("decoder-f32.onnx"), bundle.autoencoder().decoderF32());
    assertEquals(
        List.of(
            "autoencoder.json",
            "decoder-f32.onnx",
            "decoder.onnx",
            "decoder.onnx.data",
            "encoder.onnx"),
        names("out"));
    assertTrue(
        Files.size(folder.resolve("out/decoder-f32.onnx")) < 300_000, "the weights are shared");
    for (JsonNode entry : entries(bundle.verification(), "decoder.onnx")) {
      assertEquals(0.1, entry.get("bound").asDouble());
      assertTrue(entry.get("relative").asDouble() > 5e-5, entry::toString);
    }
    for (JsonNode entry : entries(bundle.verification(), "decoder-f32.onnx")) {
      assertTrue(entry.get("relative").asDouble() <= 5e-5, entry::toString);
    }
  }

  @Test
  void aHalfPrecisionDecoderThatOverflowsIsNoExport() throws IOException {
    GeneratedDcAe weights = new GeneratedDcAe(SMALL);
    DcAeFolder.write(
        autoencoder,
        SMALL,
        file -> {
          SafetensorsWriter writer = new SafetensorsWriter();
          for (String name : weights.specs().keySet()) {
            float[] values = weights.tensor(name).toFloats();
            if (name.equals("decoder.conv_in.weight")) {
              for (int i = 0; i < values.length; i++) {
                values[i] *= 1e6f;
              }
            }
            long[] dims = weights.specs().get(name).shape().dims();
            writer.add(HostTensor.of(name, values, dims));
          }
          writer.write(file);
        });
    assertEquals(0, export("autoencoder", "--autoencoder", "ae"), error);
    assertEquals(
        1,
        export(
            "autoencoder", "--autoencoder", "ae", "--autoencoder-compute", "f16", "--overwrite"));
    assertTrue(error.contains("relative error Infinity (bound 1e-01)"), error);
    assertEquals(
        DType.F32,
        AutoencoderBundle.open(folder.resolve("out")).autoencoder().compute(),
        "the old one stays");
  }

  @Test
  void anExportedAutoencoderIsReplacedOnlyWhenAsked() throws IOException {
    assertEquals(0, export("autoencoder", "--autoencoder", "ae", "--no-verify"));
    Files.writeString(folder.resolve("out/notes.txt"), "mine");
    assertEquals(2, export("autoencoder", "--autoencoder", "ae", "--no-verify"));
    assertTrue(error.contains("found an exported autoencoder there; --overwrite"), error);
    assertEquals(
        0,
        export(
            "autoencoder",
            "--autoencoder",
            "ae",
            "--no-verify",
            "--overwrite",
            "--autoencoder-dtype",
            "f16"));
    assertEquals(DType.F16, AutoencoderBundle.open(folder.resolve("out")).autoencoder().weights());
    assertEquals("mine", Files.readString(folder.resolve("out/notes.txt")));
    assertEquals(2, export("--checkpoint", nit(null), "--no-verify", "--overwrite"));
    assertTrue(error.contains("found other files in it"), error);
  }

  @Test
  void aConfigOfAnotherFamilyIsNamed() throws IOException {
    String config = Files.readString(autoencoder.resolve(DcAeConfig.FILE));
    Files.writeString(
        autoencoder.resolve(DcAeConfig.FILE), config.replace("AutoencoderDC", "AutoencoderKL"));
    refused(
        "_class_name: expected AutoencoderDC",
        "AutoencoderKL",
        "autoencoder",
        "--autoencoder",
        "ae");
  }

  @Test
  void weightsOfAnotherFamilyAreNamedKeyByKey() throws IOException {
    Path other = GeneratedDcAe.write(folder.resolve("other"), coarse());
    Files.copy(
        other.resolve(DcAeFolder.WEIGHTS),
        autoencoder.resolve(DcAeFolder.WEIGHTS),
        StandardCopyOption.REPLACE_EXISTING);
    refused(
        "does not fit the config",
        "encoder.down_blocks.4.0.attn.to_q.weight: expected no such tensor",
        "autoencoder",
        "--autoencoder",
        "ae");
  }

  @Test
  void unreadableAutoencodersFailAndLeaveNothing() throws IOException {
    assertEquals(1, export("autoencoder", "--autoencoder", "none"));
    assertTrue(error.contains("none"), error);
    Path weights = autoencoder.resolve(DcAeFolder.WEIGHTS);
    byte[] whole = Files.readAllBytes(weights);
    Files.write(weights, Arrays.copyOf(whole, whole.length - 5));
    assertEquals(1, export("autoencoder", "--autoencoder", "ae"));
    assertTrue(error.contains("truncated"), error);
    assertEquals(1, export("--checkpoint", nit(null), "--autoencoder", "ae"));
    assertEquals(List.of("ae", "model.safetensors"), names(folder));
  }

  @Test
  void helpTellsWhyHalfPrecisionIsNotTheDefault() {
    CapturedRun run = CapturedRun.of(new Export(), "autoencoder", "--help");
    assertEquals(0, run.code(), run.err());
    String help = run.out().replaceAll("\\s+", " ");
    for (String words : List.of("half precision ends at 65504", "default: f32", "Examples:")) {
      assertTrue(help.contains(words), () -> words + " in\n" + help);
    }
  }

  // ------------------------------------------------------------------ helpers

  private void refused(String expected, String found, String... arguments) throws IOException {
    assertEquals(2, export(arguments), expected);
    assertTrue(error.contains(expected), error);
    assertTrue(error.contains(found), error);
    assertFalse(Files.exists(folder.resolve("out")));
  }

  /** Runs the command in this process into {@code out}; {@code --autoencoder} is a name here. */
  private int export(String... given) {
    List<String> arguments = new ArrayList<>(List.of(given));
    arguments.addAll(List.of("--output", folder.resolve("out").toString(), "-q"));
    int name = arguments.indexOf("--autoencoder") + 1;
    if (name > 0) {
      arguments.set(name, folder.resolve(arguments.get(name)).toString());
    }
    CapturedRun run = CapturedRun.of(new Export(), arguments.toArray());
    error = run.err();
    return run.code();
  }

  private String nit(String codec) throws IOException {
    return nit(TINY, codec);
  }

  /** A checkpoint of nit-train's, with what made its latents. */
  private String nit(NitConfig config, String codec) throws IOException {
    Path file = folder.resolve("model.safetensors");
    SafetensorsWriter writer = new SafetensorsWriter().metadata("config", config.toJson());
    if (codec != null) {
      writer.metadata("codec", codec);
    }
    try (TensorSource weights = new SyntheticWeights(config, false)) {
      for (String name : weights.specs().keySet()) {
        writer.add(weights.tensor(name));
      }
    }
    writer.write(file);
    return file.toString();
  }

  private static List<JsonNode> entries(JsonNode verification, String file) {
    List<JsonNode> entries = new ArrayList<>();
    for (JsonNode entry : verification) {
      if (entry.get("pack").asText().startsWith(file + " ")) {
        entries.add(entry);
      }
    }
    return entries;
  }

  private List<String> names(String name) throws IOException {
    return names(folder.resolve(name));
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    }
  }
}
