package io.nit.exporter.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.io.FolderLock;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import io.nit.testing.CapturedRun;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ExportTest {
  private static final NitConfig TINY =
      TinyBundle.CONFIG.with(Map.of("projector_dim", 20, "z_dim", 12));

  @TempDir Path folder;

  private String error = "";

  @Test
  void aReleasedCheckpointBecomesAVerifiedBundle() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", true, Map.of());
    assertEquals(0, export(checkpoint, "--config", config(TINY, false), "--output", "out"));
    Bundle bundle = Bundle.open(folder.resolve("out"));
    bundle.verifyHashes();
    assertEquals(PositionOrder.RELEASED, bundle.config().positionOrder());
    assertEquals("F32", bundle.weights());
    assertEquals(List.of(), bundle.labels());
    assertTrue(bundle.codec().isEmpty());
    assertEquals(3, bundle.verification().size());
    for (JsonNode entry : bundle.verification()) {
      assertEquals("reference", entry.get("against").asText());
      assertTrue(entry.get("passed").asBoolean());
      assertTrue(entry.get("relative").asDouble() <= 2e-5);
      assertTrue(entry.get("relative").asDouble() > 0, "two implementations never agree to a bit");
    }
    assertEquals(
        checkpoint.getFileName().toString(), bundle.provenance().get("checkpoint").asText());
    assertEquals(List.of("bundle.json", "model.onnx"), names(folder.resolve("out")));
    assertEquals(List.of("config.json", "model.safetensors", "out"), names(folder));
  }

  @Test
  void aConfigsOwnPositionOrderAndTheOptionWinInThatOrder() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    String axial = config(TINY, true);
    assertEquals(0, export(checkpoint, "--config", axial, "--output", "a", "--no-verify"));
    assertEquals(PositionOrder.AXIAL, Bundle.open(folder.resolve("a")).config().positionOrder());
    assertEquals(
        0,
        export(
            checkpoint,
            "--config",
            axial,
            "--output",
            "b",
            "--no-verify",
            "--position-order",
            "released"));
    assertEquals(PositionOrder.RELEASED, Bundle.open(folder.resolve("b")).config().positionOrder());
  }

  @Test
  void metadataOfNitTrainNeedsNoOptions() throws IOException {
    Map<String, String> metadata =
        Map.of(
            "config",
            TINY.toJson(),
            "codec",
            new SpaceToDepthCodec(2, 1.5f, 0.25f).toNode().toString(),
            "labels",
            "[\"flag\", \"face\", \"cat\"]");
    checkpoint("model.safetensors", false, metadata);
    assertEquals(0, export(folder, "--output", "out", "--no-verify", "--max-tokens", "99"));
    Bundle bundle = Bundle.open(folder.resolve("out"));
    assertEquals(TINY, bundle.config());
    assertEquals(List.of("flag", "face", "cat"), bundle.labels());
    assertEquals(1.5, ((SpaceToDepthCodec) bundle.codec().orElseThrow()).scale());
    assertEquals(99, bundle.maxTokens());
    assertEquals(0, bundle.verification().size());
  }

  @Test
  void aConfigBesideTheCheckpointIsUsed() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    config(TINY, false);
    assertEquals(0, export(checkpoint, "--output", "out", "--no-verify"));
    assertEquals(
        PositionOrder.RELEASED, Bundle.open(folder.resolve("out")).config().positionOrder());
  }

  @ParameterizedTest
  @ValueSource(strings = {"f16", "bf16"})
  void sixteenBitWeightsAreProvedOnRoundedWeightsAndTheirOwnErrorIsToldBeside(String dtype)
      throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    assertEquals(
        0,
        export(checkpoint, "--config", config(TINY, false), "--output", "out", "--dtype", dtype));
    double rounded = 0;
    double original = 0;
    for (JsonNode entry : Bundle.open(folder.resolve("out")).verification()) {
      if (entry.get("against").asText().equals("reference")) {
        rounded = Math.max(rounded, entry.get("relative").asDouble());
      } else {
        original = Math.max(original, entry.get("relative").asDouble());
      }
    }
    assertTrue(rounded <= 2e-5, "on the same weights: " + rounded);
    assertTrue(original > 1e-4 && original < 0.05, "what rounding costs: " + original);
  }

  @Test
  void codecAndLabelsComeFromOptions() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    Path labels = Files.writeString(folder.resolve("labels.txt"), "a\nb\nc\n");
    assertEquals(
        0,
        export(
            checkpoint,
            "--config",
            config(TINY, false),
            "--output",
            "out",
            "--no-verify",
            "--codec",
            "space-to-depth",
            "--codec-factor",
            "2",
            "--labels",
            labels.toString()));
    Bundle bundle = Bundle.open(folder.resolve("out"));
    assertEquals(2, bundle.sizeMultiple().orElseThrow());
    assertEquals(List.of("a", "b", "c"), bundle.labels());
  }

  @Test
  void aBundleIsReplacedOnlyWhenAskedAndOtherFilesStay() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    String config = config(TINY, false);
    assertEquals(0, export(checkpoint, "--config", config, "--output", "out", "--no-verify"));
    Files.writeString(folder.resolve("out/notes.txt"), "mine");
    Files.setLastModifiedTime(
        folder.resolve("out/bundle.json"), java.nio.file.attribute.FileTime.fromMillis(0));
    assertEquals(2, export(checkpoint, "--config", config, "--output", "out", "--no-verify"));
    assertTrue(error.contains("--overwrite replaces it"), error);
    assertEquals(0, Files.getLastModifiedTime(folder.resolve("out/bundle.json")).toMillis());
    assertEquals(
        0,
        export(
            checkpoint,
            "--config",
            config,
            "--output",
            "out",
            "--no-verify",
            "--overwrite",
            "--dtype",
            "bf16"));
    assertEquals("BF16", Bundle.open(folder.resolve("out")).weights());
    assertEquals("mine", Files.readString(folder.resolve("out/notes.txt")));
  }

  @Test
  void modelFilesThatAKillLeftWithoutManifestAreReplacedWhenAsked() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    String config = config(TINY, false);
    Files.createDirectories(folder.resolve("out"));
    Files.writeString(folder.resolve("out/model.onnx"), "half");
    assertEquals(2, export(checkpoint, "--config", config, "--output", "out", "--no-verify"));
    assertEquals(
        0, export(checkpoint, "--config", config, "--output", "out", "--no-verify", "--overwrite"));
    Bundle.open(folder.resolve("out")).verifyHashes();
  }

  @Test
  void whatAKilledExportLeftIsRemovedAndWhatARunningOneUsesIsNot() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of("config", TINY.toJson()));
    Path abandoned = Files.createDirectory(folder.resolve(".out.tmp-1"));
    Files.writeString(abandoned.resolve("model.onnx"), "half a model");
    Files.createFile(abandoned.resolve(FolderLock.FILE));
    Path used = Files.createDirectory(folder.resolve(".out.tmp-2"));
    Path foreign = Files.createDirectory(folder.resolve(".out.tmp-3")); // no lock: not ours
    try (FolderLock lock = FolderLock.tryAcquire(used).orElseThrow()) {
      assertEquals(0, export(checkpoint, "--output", "out", "--no-verify"), error);
    }
    assertFalse(Files.exists(abandoned));
    assertTrue(Files.exists(used));
    assertTrue(Files.exists(foreign));
  }

  @Test
  void aFolderWithOtherFilesIsRefused() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    Files.createDirectories(folder.resolve("out"));
    Files.writeString(folder.resolve("out/holiday.jpg"), "");
    assertEquals(
        2, export(checkpoint, "--config", config(TINY, false), "--output", "out", "--overwrite"));
    assertTrue(error.contains("found other files in it"), error);
    assertEquals(List.of("holiday.jpg"), names(folder.resolve("out")));
  }

  @Test
  void aCheckpointOfAnotherConfigIsNamedTensorByTensorAndLeavesNothing() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    assertEquals(2, export(checkpoint, "--preset", "xl", "--output", "out"));
    assertTrue(
        error.contains("blocks.0.attn.qkv.weight: expected [3456, 1152], found [48, 16]"), error);
    assertTrue(error.contains("model.safetensors does not fit the config"), error);
    assertEquals(List.of("model.safetensors"), names(folder));
  }

  @Test
  void ofTheReleasedXlOnlyWhatDoesNotFitIsNamed() throws IOException {
    Map<String, TensorSpec> specs = new LinkedHashMap<>(NitTensors.of(NitConfig.xl(), false));
    specs.remove("blocks.27.mlp.fc2.bias");
    for (String changed : List.of("blocks.3.attn.proj.weight", "rope.freqs")) {
      specs.put(changed, new TensorSpec(changed, DType.F32, Shape.of(1152, 7)));
    }
    Path checkpoint = folder.resolve("model.safetensors");
    headerAndHole(specs, checkpoint);
    assertEquals(2, export(checkpoint, "--preset", "xl", "--output", "out"));
    assertTrue(error.contains("model.safetensors does not fit the config (3 differences)"), error);
    for (String line :
        List.of(
            "blocks.3.attn.proj.weight: expected [1152, 1152], found [1152, 7]",
            "blocks.27.mlp.fc2.bias: expected [1152], found nothing",
            "rope.freqs: expected no such tensor, found [1152, 7]")) {
      assertTrue(error.contains(line), error);
    }
    assertEquals(List.of("model.safetensors"), names(folder));
  }

  /** A checkpoint whose values are a hole in the file, which takes no disk. */
  private static void headerAndHole(Map<String, TensorSpec> specs, Path file) throws IOException {
    ObjectNode header = JsonNodeFactory.instance.objectNode();
    long at = 0;
    for (TensorSpec spec : specs.values()) {
      ObjectNode entry = header.putObject(spec.name()).put("dtype", spec.dtype().name());
      ArrayNode shape = entry.putArray("shape");
      Arrays.stream(spec.shape().dims()).forEach(shape::add);
      entry.putArray("data_offsets").add(at).add(at += spec.bytes());
    }
    byte[] json = header.toString().getBytes(StandardCharsets.UTF_8);
    try (RandomAccessFile out = new RandomAccessFile(file.toFile(), "rw")) {
      out.write(ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(json.length).array());
      out.write(json);
      out.setLength(8 + json.length + at);
    }
  }

  @Test
  void aCheckpointInShardsGivesTheBundleOfTheWholeFile() throws IOException {
    Path whole = checkpoint("whole/model.safetensors", true, Map.of());
    Path sharded = folder.resolve("sharded");
    ObjectNode index = JsonNodeFactory.instance.objectNode();
    ObjectNode shards = index.putObject("weight_map");
    SafetensorsWriter[] writers = {new SafetensorsWriter(), new SafetensorsWriter()};
    try (TensorSource weights = TensorSource.open(whole)) {
      for (String name : weights.specs().keySet()) {
        int shard = shards.size() % 2;
        writers[shard].add(weights.tensor(name));
        shards.put(name, "model-" + shard + ".safetensors");
      }
      Files.createDirectories(sharded);
      for (int i = 0; i < 2; i++) {
        writers[i].write(sharded.resolve("model-" + i + ".safetensors"));
      }
    }
    Files.writeString(sharded.resolve("model.safetensors.index.json"), index.toString());
    String config = config(TINY, false);
    assertEquals(0, export(whole, "--config", config, "--output", "a", "--no-verify"));
    assertEquals(0, export(sharded, "--config", config, "--output", "b", "--no-verify"));
    assertEquals(
        -1, Files.mismatch(folder.resolve("a/model.onnx"), folder.resolve("b/model.onnx")));
  }

  @Test
  void badUsageSaysWhatIsWrongAndExitsWith2() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    String config = config(TINY, false);
    refused("--dtype: expected one of f32, f16, bf16; found 'int8'", checkpoint, "--dtype", "int8");
    refused(
        "--preset and --config: expected one of them",
        checkpoint,
        "--preset",
        "s",
        "--config",
        config);
    refused(
        "--preset: expected one of s, b, l, xl, xxl; found 'huge'", checkpoint, "--preset", "huge");
    refused("--max-tokens: expected 1 or more, found 0", checkpoint, "--max-tokens", "0");
    refused("expected one of released, axial; found 'xy'", checkpoint, "--position-order", "xy");
    refused(
        "--codec: expected one of space-to-depth; found 'vae'",
        checkpoint,
        "--codec",
        "vae",
        "--codec-factor",
        "2");
    refused(
        "--codec-factor: expected 1 or more with --codec, found null",
        checkpoint,
        "--codec",
        "space-to-depth");
    refused(
        "--codec: expected one of space-to-depth with --codec-factor",
        checkpoint,
        "--codec-factor",
        "2");
    refused(
        "expected 12 channels (in_channels), found 48 with factor 4",
        checkpoint,
        "--codec",
        "space-to-depth",
        "--codec-factor",
        "4");
    Path labels = Files.writeString(folder.resolve("labels.txt"), "a\nb\n");
    refused(
        "expected 3 class names (num_classes), found 2", checkpoint, "--labels", labels.toString());
    refused("Unknown option: '--speed'", checkpoint, "--speed");
  }

  @Test
  void aCheckpointWithoutAnyConfigSaysHowToGiveOne() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of());
    assertEquals(2, export(checkpoint, "--output", "out"));
    assertTrue(error.contains("give --preset or --config"), error);
  }

  @Test
  void classesBeyondThoseOfTheDataSetHaveNoNames() throws IOException {
    Map<String, String> metadata = Map.of("config", TINY.toJson(), "labels", "[\"flag\"]");
    checkpoint("model.safetensors", false, metadata);
    assertEquals(0, export(folder, "--output", "out", "--no-verify"), error);
    assertEquals(List.of("flag"), Bundle.open(folder.resolve("out")).labels());
    Path none = Files.createFile(folder.resolve("none.txt"));
    assertEquals(
        2, export(folder, "--output", "other", "--no-verify", "--labels", none.toString()));
    assertTrue(error.contains("expected 3 class names (num_classes), found 0"), error);
  }

  @Test
  void brokenMetadataIsNamed() throws IOException {
    Path checkpoint =
        checkpoint(
            "model.safetensors", false, Map.of("config", TINY.toJson(), "labels", "{\"a\": 1}"));
    assertEquals(2, export(checkpoint, "--output", "out"));
    assertTrue(
        error.contains("__metadata__.labels: expected an array of class names, found OBJECT"),
        error);
    checkpoint = checkpoint("model.safetensors", false, Map.of("config", "{\"depth\": "));
    assertEquals(2, export(checkpoint, "--output", "out"));
    assertTrue(error.contains("__metadata__.config: expected a JSON object"), error);
  }

  @Test
  void unreadableCheckpointsFailWith1() throws IOException {
    assertEquals(1, export(folder.resolve("none.safetensors"), "--output", "out"));
    Path cut = folder.resolve("cut.safetensors");
    Path whole = checkpoint("model.safetensors", false, Map.of("config", TINY.toJson()));
    byte[] bytes = Files.readAllBytes(whole);
    Files.write(cut, Arrays.copyOf(bytes, bytes.length - 5));
    assertEquals(1, export(cut, "--output", "out"));
    assertTrue(error.contains("truncated"), error);
    byte[] hostile = bytes.clone();
    hostile[7] = 0x7f;
    Files.write(cut, hostile);
    assertEquals(1, export(cut, "--output", "out"));
    assertTrue(error.contains("found length"), error);
    assertFalse(Files.exists(folder.resolve("out")));
  }

  @Test
  void aStopLeavesNeitherBundleNorTemporaryFiles() throws IOException {
    Path checkpoint = checkpoint("model.safetensors", false, Map.of("config", TINY.toJson()));
    StopSignal stop = StopSignal.none();
    stop.request();
    ExportOptions options =
        new ExportOptions(
            checkpoint,
            Optional.empty(),
            Optional.empty(),
            folder.resolve("out"),
            DType.F32,
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            Optional.empty(),
            16,
            true,
            false,
            true);
    assertThrows(CancellationException.class, () -> new BundleExport(options, stop).run());
    assertEquals(List.of("model.safetensors"), names(folder));
  }

  @Test
  void helpShowsDefaultsAndExamples() {
    CapturedRun run = CapturedRun.of(new Export(), "--help");
    assertEquals(0, run.code(), run.err());
    String help = run.out();
    for (String words :
        List.of("default: f32", "default: 16384", "--[no-]verify", "--preset xl", "Exit codes")) {
      assertTrue(help.contains(words), () -> words + " in\n" + help);
    }
  }

  private void refused(String words, Path checkpoint, String... more) throws IOException {
    List<String> arguments = new ArrayList<>(List.of("--output", "out"));
    arguments.addAll(List.of(more));
    assertEquals(2, export(checkpoint, arguments.toArray(String[]::new)), words);
    assertTrue(error.contains(words), error);
    assertFalse(Files.exists(folder.resolve("out")));
  }

  /** Runs the command in this process; {@code --output} is a name in the test's folder. */
  private int export(Path checkpoint, String... more) {
    List<String> arguments = new ArrayList<>(List.of("--checkpoint", checkpoint.toString(), "-q"));
    arguments.addAll(List.of(more));
    int output = arguments.indexOf("--output") + 1;
    arguments.set(output, folder.resolve(arguments.get(output)).toString());
    CapturedRun run = CapturedRun.of(new Export(), arguments.toArray());
    error = run.err();
    return run.code();
  }

  private Path checkpoint(String name, boolean projector, Map<String, String> metadata)
      throws IOException {
    Path file = folder.resolve(name);
    SafetensorsWriter writer = new SafetensorsWriter();
    metadata.forEach(writer::metadata);
    try (TensorSource weights = new SyntheticWeights(TINY, projector)) {
      for (String tensor : weights.specs().keySet()) {
        HostTensor values = weights.tensor(tensor);
        writer.add(values);
      }
    }
    writer.write(file);
    return file;
  }

  private String config(NitConfig config, boolean withOrder) throws IOException {
    var node = config.toNode();
    if (!withOrder) {
      node.remove("position_order");
    }
    return Files.writeString(folder.resolve("config.json"), node.toString()).toString();
  }

  private static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    }
  }
}
