package io.nit.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.Cli;
import io.nit.core.codec.Codecs;
import io.nit.core.config.DcAeConfig;
import io.nit.core.flow.Philox;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.testing.CapturedRun;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeMap;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Pictures of the bundled set through a small DC-AE, and models that are trained on its latents.
 */
class AutoencoderRunTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int PICTURES_OF_A_CLASS = 5;

  @TempDir Path folder;
  private Path autoencoder;
  private String out;
  private String errors;

  @BeforeEach
  void makeInputs() throws IOException {
    autoencoder = GeneratedDcAe.write(folder.resolve("dc-ae"), GeneratedDcAe.small());
    Path bundled = Path.of("..", "samples", "data", "fashion10");
    int taken = 0;
    try (Stream<Path> classes = Files.list(bundled)) {
      for (Path one : classes.filter(Files::isDirectory).sorted().limit(3).toList()) {
        try (Stream<Path> files = Files.list(one)) {
          for (Path file : files.sorted().limit(PICTURES_OF_A_CLASS).toList()) {
            Path copy = folder.resolve("pictures").resolve(bundled.relativize(file).toString());
            Files.createDirectories(copy.getParent());
            Files.copy(file, copy);
            taken++;
          }
        }
      }
    }
    assertEquals(3 * PICTURES_OF_A_CLASS, taken);
    Files.writeString(
        folder.resolve("tiny.json"),
        "{\"hidden_size\": 16, \"depth\": 2, \"num_heads\": 2, \"in_channels\": 8, "
            + "\"num_classes\": 3, \"encoder_depth\": 1, \"projector_dim\": 8, \"z_dim\": 6}");
  }

  private int run(Object command, List<String> args) {
    CapturedRun run = CapturedRun.of(command, args.toArray());
    out = run.out();
    errors = run.err();
    return run.code();
  }

  private int prepare(String output, String... more) {
    List<String> args = new ArrayList<>(List.of("--data", folder.resolve("pictures").toString()));
    args.addAll(List.of("--output", folder.resolve(output).toString(), "--quiet"));
    args.addAll(List.of("--max-side", "4096")); // chunks of 8 pictures
    args.addAll(List.of(more));
    if (!args.contains("--device")) {
      args.addAll(List.of("--device", "cpu"));
    }
    return run(new Prepare(), args);
  }

  private void prepared(String output, String... more) {
    List<String> args = new ArrayList<>(List.of("--autoencoder", autoencoder.toString()));
    args.addAll(List.of(more));
    assertEquals(Cli.DONE, prepare(output, args.toArray(String[]::new)), () -> errors);
  }

  private int train(String data, String output, String... more) {
    List<String> args = new ArrayList<>(List.of("--threads", "1", "--log-every", "1"));
    args.addAll(List.of("--config", folder.resolve("tiny.json").toString()));
    args.addAll(List.of("--data", folder.resolve(data).toString()));
    args.addAll(List.of("--output", folder.resolve(output).toString()));
    args.addAll(List.of("--steps", "2", "--warmup", "0", "--max-tokens", "64"));
    args.addAll(List.of("--sample-steps", "1", "--sample-classes", "2", "--device", "cpu"));
    args.addAll(List.of(more));
    return run(new Train(), args);
  }

  private TreeMap<String, byte[]> files(String output) throws IOException {
    Path root = folder.resolve(output);
    TreeMap<String, byte[]> files = new TreeMap<>();
    try (Stream<Path> all = Files.walk(root)) {
      for (Path file : all.filter(Files::isRegularFile).toList()) {
        String name = root.relativize(file).toString();
        if (!name.startsWith("parts/")) {
          files.put(name, Files.readAllBytes(file));
        }
      }
    }
    return files;
  }

  private void assertSame(String expected, String found) throws IOException {
    TreeMap<String, byte[]> there = files(found);
    TreeMap<String, byte[]> all = files(expected);
    assertEquals(all.keySet(), there.keySet());
    all.forEach((name, bytes) -> assertArrayEquals(bytes, there.get(name), name));
  }

  private JsonNode codecOfTheModel(String run) throws IOException {
    try (SafetensorsFile model =
        SafetensorsFile.open(folder.resolve(run).resolve("model.safetensors"))) {
      return JSON.readTree(model.metadata().get("codec"));
    }
  }

  @Test
  void preparingTwiceInterruptedOrInTwoProcessesGivesTheSameBytes() throws IOException {
    prepared("whole");
    assertTrue(out.contains("15 pictures: 15 latents written, 0 there already"), out);
    JsonNode settings = JSON.readTree(folder.resolve("whole/prepare.json").toFile());
    assertEquals("dc-ae", settings.at("/codec/type").asText());
    assertEquals(64, settings.at("/codec/weights_sha256").asText().length());
    assertEquals("f32", settings.get("precision").asText());
    prepared("again");
    assertSame("whole", "again");

    int n = 0;
    for (var file : files("whole").entrySet()) {
      if (file.getKey().equals("prepare.json") || file.getKey().contains("/") && n++ % 3 == 0) {
        Path copy = folder.resolve("resumed").resolve(file.getKey());
        Files.createDirectories(copy.getParent());
        Files.write(copy, file.getValue());
      }
    }
    prepared("resumed");
    assertTrue(out.contains("10 latents written, 5 there already"), out);
    assertSame("whole", "resumed");

    prepared("two", "--world-size", "2", "--rank", "1");
    assertTrue(out.contains("not complete before the other ranks"), out);
    prepared("two", "--world-size", "2", "--rank", "0");
    assertSame("whole", "two");

    for (String line : Files.readAllLines(folder.resolve("whole/data_meta.jsonl"))) {
      JsonNode row = JSON.readTree(line);
      Path latents = folder.resolve("whole/latents/native-resolution");
      try (SafetensorsFile file =
          SafetensorsFile.open(latents.resolve(row.get("latent_file").asText()))) {
        int h = row.get("latent_h").asInt();
        int w = row.get("latent_w").asInt();
        assertEquals(Shape.of(2, 8, h, w), file.tensor("latent").shape());
        assertEquals(8 * h, row.get("image_h").asInt());
      }
    }
  }

  @Test
  void badUsageNamesTheFlag() throws IOException {
    String dir = autoencoder.toString();
    String[][] bad = {
      {"--factor: expected none with --autoencoder", "--autoencoder", dir, "--factor", "8"},
      {
        "--codec: expected dc-ae with --autoencoder", "--autoencoder", dir, "--codec=space-to-depth"
      },
      {"dc-ae needs --autoencoder DIR", "--codec", "dc-ae"},
      {"--batch: expected 1..", "--autoencoder", dir, "--batch", "0"},
      {"--autoencoder-precision: ", "--autoencoder", dir, "--autoencoder-precision", "f64"},
      {"--device: expected one of auto", "--autoencoder", dir, "--device", "tpu"},
      {
        "codec's factor x --patch-size",
        "--autoencoder",
        dir,
        "--patch-size=3",
        "--types=fixed-256x256"
      },
    };
    for (String[] one : bad) {
      List<String> args = new ArrayList<>(List.of(one).subList(1, one.length));
      assertEquals(Cli.BAD_USAGE, prepare("set", args.toArray(String[]::new)), one[0]);
      assertTrue(errors.contains(one[0]), errors);
      assertFalse(Files.exists(folder.resolve("set")), "nothing is begun");
    }
    if (!torch.cuda_is_available()) {
      assertEquals(Cli.BAD_USAGE, prepare("set", "--autoencoder", dir, "--device", "cuda"));
      assertTrue(errors.contains("--device cuda: expected a CUDA device"), errors);
    }
    Files.delete(autoencoder.resolve(DcAeFolder.WEIGHTS));
    assertEquals(Cli.FAILED, prepare("set", "--autoencoder", dir));
    assertTrue(errors.contains(DcAeFolder.WEIGHTS), errors);
  }

  @Test
  void aCheckpointOfAnotherFamilyIsNamedKeyByKey() throws IOException {
    new SafetensorsWriter()
        .add(HostTensor.of("encoder.conv_in.weight", new float[8], 8))
        .add(HostTensor.of("quant_conv.weight", new float[4], 4))
        .write(autoencoder.resolve(DcAeFolder.WEIGHTS));
    assertEquals(Cli.BAD_USAGE, prepare("set", "--autoencoder", autoencoder.toString()));
    for (String key :
        List.of("encoder.conv_in.weight", "quant_conv.weight", "decoder.conv_out.bias")) {
      assertTrue(errors.contains(key), errors);
    }
    Path config = autoencoder.resolve(DcAeConfig.FILE);
    Files.writeString(config, Files.readString(config).replace("AutoencoderDC", "AutoencoderKL"));
    assertEquals(Cli.BAD_USAGE, prepare("set", "--autoencoder", autoencoder.toString()));
    assertTrue(errors.contains("_class_name: expected AutoencoderDC"), errors);
  }

  @Test
  void anotherAutoencoderInTheSameOutputIsRefusedByItsKey() throws IOException {
    prepared("set");
    Path other =
        GeneratedDcAe.write(folder.resolve("other"), GeneratedDcAe.small().withScalingFactor(0.25));
    assertEquals(Cli.BAD_USAGE, prepare("set", "--autoencoder", other.toString()));
    assertTrue(errors.contains("holds latents of other settings: codec: expected"), errors);
    assertEquals(Cli.BAD_USAGE, prepare("set"));
    assertTrue(errors.contains("codec: expected {\"type\":\"space-to-depth\""), errors);
  }

  @Test
  void aModelIsTrainedOnLatentsAndDrawsWhatTheyCameFrom() throws IOException {
    prepared("set");
    assertEquals(Cli.DONE, train("set", "run", "--sample-every", "1"), errors);
    assertTrue(errors.contains("samples are decoded by " + autoencoder.toAbsolutePath()), errors);
    assertTrue(Files.size(folder.resolve("run/samples/step-0000002.png")) > 0);
    JsonNode codec = codecOfTheModel("run");
    assertEquals(
        DcAeFolder.open(autoencoder).spec(), Codecs.of(codec, "the model"), codec.toString());
    assertFalse(codec.toString().contains(folder.toString()), "no path in a model file");

    // The folder is gone: the training goes on without.
    Path moved = Files.move(autoencoder, folder.resolve("moved"));
    assertEquals(Cli.DONE, train("set", "blind"), errors);
    assertTrue(errors.contains("no sample grids") && errors.contains("--autoencoder DIR"), errors);
    assertFalse(Files.exists(folder.resolve("blind/samples")));
    assertEquals(Cli.BAD_USAGE, train("set", "blind", "--sample-size", "24x24"), errors);
    assertTrue(errors.contains("--sample-size"), errors);
    assertEquals(Cli.DONE, train("set", "told", "--autoencoder", moved.toString()), errors);
    assertTrue(Files.exists(folder.resolve("told/samples/step-0000002.png")));
  }

  @Test
  void anAutoencoderThatDoesNotFitTheLatentsIsRefusedAndOtherWeightsAreTold() throws IOException {
    prepared("set");
    Path scaled =
        GeneratedDcAe.write(
            folder.resolve("scaled"), GeneratedDcAe.small().withScalingFactor(0.25));
    assertEquals(Cli.BAD_USAGE, train("set", "run", "--autoencoder", scaled.toString()), errors);
    assertTrue(errors.contains("found another: scaling factor: expected 0.5, found 0.25"), errors);

    // Other weights of the same shape: one value changed.
    Path other = GeneratedDcAe.write(folder.resolve("other"), GeneratedDcAe.small());
    byte[] bytes = Files.readAllBytes(other.resolve(DcAeFolder.WEIGHTS));
    bytes[bytes.length - 3] ^= 1;
    Files.write(other.resolve(DcAeFolder.WEIGHTS), bytes);
    assertEquals(Cli.DONE, train("set", "run", "--autoencoder", other.toString()), errors);
    assertTrue(errors.contains("--autoencoder: other weights than made the latents"), errors);
    assertEquals(
        DcAeFolder.open(autoencoder).spec().weightsSha256().orElseThrow(),
        codecOfTheModel("run").get("weights_sha256").asText(),
        "the model names what made its latents");

    assertEquals(Cli.DONE, prepare("plain", "--factor", "4"), errors);
    assertEquals(
        Cli.BAD_USAGE, train("plain", "x", "--autoencoder", autoencoder.toString()), errors);
    assertTrue(errors.contains("the latents are by space-to-depth f4c48"), errors);
  }

  @Test
  void latentsThatDoNotSayTheirCodecTakeTheOneThatIsNamed() throws IOException {
    prepared("set");
    Files.delete(folder.resolve("set/dataset.json"));
    assertEquals(Cli.DONE, train("set", "run"), errors);
    assertTrue(errors.contains("does not say which codec made its latents"), errors);
    assertEquals(Cli.DONE, train("set", "named", "--autoencoder", autoencoder.toString()), errors);
    assertEquals("dc-ae", codecOfTheModel("named").get("type").asText());
    assertTrue(Files.exists(folder.resolve("named/samples/step-0000002.png")));
  }

  @Test
  void featuresThatWereAddedToTheLatentsTrainTheProjector() throws IOException {
    prepared("set");
    int n = 0;
    for (String name : files("set").keySet()) {
      if (name.startsWith("latents/")) {
        addFeature(folder.resolve("set").resolve(name), n++);
      }
    }
    TreeMap<String, byte[]> featured = files("set");
    prepared("set");
    assertTrue(out.contains("0 latents written, 15 there already"), out);
    featured.forEach((name, bytes) -> assertSameFile(name, bytes));
    assertEquals(Cli.DONE, train("set", "run", "--proj-coeff", "1"), errors);
    List<String> metrics = Files.readAllLines(folder.resolve("run/metrics.jsonl"));
    assertEquals(2, metrics.size());
    for (String line : metrics) {
      double projection = JSON.readTree(line).get("loss_proj").asDouble();
      assertTrue(projection > 0 && projection < 2, line);
    }
  }

  private void assertSameFile(String name, byte[] bytes) {
    try {
      assertArrayEquals(bytes, Files.readAllBytes(folder.resolve("set").resolve(name)), name);
    } catch (IOException e) {
      throw new AssertionError(e);
    }
  }

  /** Of the plain picture, and of both for every second file. */
  private static void addFeature(Path file, int number) throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    try (SafetensorsFile old = SafetensorsFile.open(file)) {
      old.metadata().forEach(writer::metadata);
      HostTensor latent = old.tensor("latent");
      int tokens = (int) (latent.shape().dim(2) * latent.shape().dim(3));
      boolean both = number % 2 == 0;
      double[] normals = new Philox(3, number).normals((both ? 2 : 1) * tokens * 6);
      float[] values = new float[normals.length];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) normals[i];
      }
      long[] dims = both ? new long[] {2, tokens, 6} : new long[] {tokens, 6};
      writer.add(latent).add(old.tensor("label"));
      writer.add(HostTensor.of("feature", values, dims)).write(file);
    }
  }

  @Test
  void picturesAreEncodedOnTheFlyToTheSameModelInput() throws IOException {
    String dir = autoencoder.toString();
    assertEquals(Cli.DONE, train("pictures", "run", "--autoencoder", dir), errors);
    assertEquals("dc-ae", codecOfTheModel("run").get("type").asText());
    assertTrue(Files.exists(folder.resolve("run/samples/step-0000002.png")));
    try (TensorSource model = TensorSource.open(folder.resolve("run/model.safetensors"))) {
      assertEquals(8, model.specs().get("x_embedder.proj.weight").shape().dim(1));
    }
    assertEquals(
        Cli.BAD_USAGE, train("pictures", "x", "--autoencoder", dir, "--memory-budget", "0"));
    assertTrue(errors.contains("--memory-budget") && errors.contains("nit-train prepare"), errors);
    assertEquals(
        Cli.BAD_USAGE, train("pictures", "x", "--autoencoder", dir, "--codec-factor", "4"));
    assertTrue(errors.contains("--codec-factor: expected none with --autoencoder"), errors);
  }
}
