package io.nit.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.cli.Cli;
import io.nit.core.flow.Philox;
import io.nit.core.packing.SamplerMeta;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.testing.CapturedRun;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * Whole runs on latents in the authors' layout: their metas, folders and features, nothing else.
 */
class AuthorsLayoutRunTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int CHANNELS = 3;
  private static final int Z_DIM = 6;
  private static final String SAMPLER_META = "sampler_meta/merge_LPFHP_19.json";

  @TempDir Path folder;
  private final StringBuilder rows = new StringBuilder();
  private String errors;

  @BeforeEach
  void writeData() throws IOException {
    Files.writeString(
        folder.resolve("tiny.json"),
        "{\"hidden_size\": 16, \"depth\": 2, \"num_heads\": 2, \"in_channels\": 3, "
            + "\"num_classes\": 5, \"encoder_depth\": 1, \"projector_dim\": 8, \"z_dim\": 6}");
    latent("native-resolution", "n01/a", 2, 3, 4);
    latent("native-resolution", "n02/b", 4, 1, 0);
    latent("256x256", "n01/a", 2, 2, 4);
    latent("512x512", "n01/a", 3, 3, 4);
    latent("512x512", "n02/b", 3, 3, 0);
    Files.createDirectories(folder.resolve("data/data_meta"));
    Files.writeString(folder.resolve("data/data_meta/dc-ae_merge_meta.jsonl"), rows);
    SamplerMeta.write(
        folder.resolve("data").resolve(SAMPLER_META),
        List.of(new int[] {4, 0, 1}, new int[] {2, 3}));
  }

  /** A latent of noise, its mirror image and the plain picture's features. */
  private void latent(String type, String name, int h, int w, long label) throws IOException {
    String kind = type.startsWith("native") ? type : "fixed-" + type;
    int stream = rows.length();
    rows.append(
        String.format(
            "{\"image_file\": \"%1$s.JPEG\", \"latent_file\": \"%1$s.safetensors\", \"ori_w\": 99,"
                + " \"ori_h\": 98, \"latent_h\": %2$d, \"latent_w\": %3$d, \"image_h\": %4$d,"
                + " \"image_w\": %5$d, \"type\": \"%6$s\"}\n",
            name, h, w, 32 * h, 32 * w, kind));
    Path file = folder.resolve("data/dc-ae-" + type).resolve(name + ".safetensors");
    Files.createDirectories(file.getParent());
    new SafetensorsWriter()
        .add(noise("latent", stream, 2, CHANNELS, h, w))
        .add(HostTensor.of("label", new long[] {label}))
        .add(noise("feature", stream + 1, (long) h * w, Z_DIM))
        .write(file);
  }

  private static HostTensor noise(String name, long stream, long... dims) {
    int elements = 1;
    for (long dim : dims) {
      elements *= (int) dim;
    }
    double[] normals = new Philox(5, stream).normals(elements);
    float[] values = new float[elements];
    for (int i = 0; i < elements; i++) {
      values[i] = (float) normals[i];
    }
    return HostTensor.of(name, values, dims);
  }

  private int train(String output, String... more) {
    List<String> args = new ArrayList<>(List.of("--quiet", "--threads", "1", "--log-every", "1"));
    args.addAll(List.of("--config", folder.resolve("tiny.json").toString()));
    args.addAll(List.of("--data", folder.resolve("data").toString()));
    args.addAll(List.of("--output", folder.resolve(output).toString()));
    args.addAll(List.of("--steps", "4", "--warmup", "0", "--checkpoint-every", "2"));
    args.addAll(List.of("--max-tokens", "19", "--sampler-meta"));
    args.add(folder.resolve("data").resolve(SAMPLER_META).toString());
    args.addAll(List.of(more));
    CapturedRun run = CapturedRun.of(new Train(), args.toArray());
    errors = run.err();
    return run.code();
  }

  private List<JsonNode> metrics(String output) throws IOException {
    List<JsonNode> all = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve(output).resolve("metrics.jsonl"))) {
      all.add(JSON.readTree(line));
    }
    return all;
  }

  @Test
  void featuresInTheLatentFilesTrainTheProjectorAndTheRunResumesToTheSameBits() throws IOException {
    assertEquals(Cli.DONE, train("run", "--proj-coeff", "0.5"), errors);
    List<JsonNode> metrics = metrics("run");
    assertEquals(4, metrics.size());
    for (JsonNode row : metrics) {
      double projection = row.get("loss_proj").asDouble();
      assertTrue(projection > 0 && projection < 2, row.toString());
      assertEquals(
          row.get("loss").asDouble(), row.get("loss_flow").asDouble() + 0.5 * projection, 1e-5);
    }
    Path early = folder.resolve("run/checkpoints/step-0000002");
    assertEquals(2, JSON.readTree(early.resolve("state.json").toFile()).at("/data/packs").asInt());
    Path late = folder.resolve("run/checkpoints/step-0000004");
    try (TensorSource two = TensorSource.open(early.resolve("model.safetensors"));
        TensorSource four = TensorSource.open(late.resolve("model.safetensors"))) {
      String head = "projector.4.weight";
      assertFalse(two.tensor(head).bytes().equals(four.tensor(head).bytes()), "it is trained");
    }

    assertEquals(
        Cli.DONE, train("again", "--proj-coeff", "0.5", "--resume", early.toString()), errors);
    for (String file :
        List.of("model.safetensors", "checkpoints/step-0000004/optimizer.safetensors")) {
      assertEquals(
          -1,
          Files.mismatch(
              folder.resolve("run").resolve(file), folder.resolve("again").resolve(file)),
          file);
    }
    assertEquals(
        metrics.get(3).get("loss_proj"), metrics("again").get(1).get("loss_proj"), "last step");

    assertEquals(Cli.BAD_USAGE, train("other", "--resume", early.toString()), errors);
    assertTrue(errors.contains("expected no REPA head, found one"), errors);
  }

  @Test
  void withoutTheirWeightFeaturesAreLeftUnread() throws IOException {
    assertEquals(Cli.DONE, train("run"), errors);
    for (JsonNode row : metrics("run")) {
      assertFalse(row.has("loss_proj"), row.toString());
    }
    try (TensorSource result = TensorSource.open(folder.resolve("run/model.safetensors"))) {
      assertFalse(result.has("projector.0.weight"));
    }
  }

  @Test
  void aLabelThatTheNetworkDoesNotKnowIsNamedWithItsRow() throws IOException {
    latent("native-resolution", "n03/c", 1, 2, 5);
    Files.writeString(folder.resolve("data/data_meta/dc-ae_merge_meta.jsonl"), rows);
    SamplerMeta.write(folder.resolve("data").resolve(SAMPLER_META), List.of(new int[] {0, 5}));
    assertEquals(Cli.BAD_USAGE, train("run"), errors);
    assertTrue(errors.contains("label of data row 5: expected 0..4, found 5"), errors);
  }
}
