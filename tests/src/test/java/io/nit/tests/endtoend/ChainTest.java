package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;

/**
 * The main job through the launchers of {@code scripts/}, from a folder that is not the project's.
 */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class ChainTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String CONFIG =
      """
      {"hidden_size": 32, "depth": 2, "num_heads": 2, "num_classes": 2, "in_channels": 48, "qk_norm": true,
       "encoder_depth": 1, "projector_dim": 16, "z_dim": 16}
      """;

  @TempDir static Path work;

  private record Result(int code, String out, String err) {}

  private static Result nit(String launcher, Object... arguments)
      throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of("..", "scripts", launcher).toRealPath().toString());
    for (Object argument : arguments) {
      command.add(argument.toString());
    }
    Path out = Files.createTempFile(work, "out-", ".txt");
    Path err = Files.createTempFile(work, "err-", ".txt");
    Process process =
        new ProcessBuilder(command)
            .directory(work.toFile())
            .redirectOutput(out.toFile())
            .redirectError(err.toFile())
            .start();
    if (!process.waitFor(3, TimeUnit.MINUTES)) {
      process.destroyForcibly();
      throw new AssertionError(launcher + " ran over three minutes: " + Files.readString(err));
    }
    return new Result(process.exitValue(), Files.readString(out), Files.readString(err));
  }

  private static Result done(String launcher, Object... arguments)
      throws IOException, InterruptedException {
    Result result = nit(launcher, arguments);
    assertEquals(0, result.code, launcher + " " + List.of(arguments) + "\n" + result.err);
    return result;
  }

  @BeforeAll
  static void drawPictures() throws IOException {
    Files.writeString(work.resolve("nit.json"), CONFIG);
    for (int i = 0; i < 12; i++) {
      boolean tall = i % 2 == 0;
      int width = tall ? 8 + 4 * (i % 3) : 24;
      int height = tall ? 24 : 9 + 4 * (i % 3); // 9, 13, 17: floored to multiples of 4
      BufferedImage picture = new BufferedImage(width, height, BufferedImage.TYPE_3BYTE_BGR);
      for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
          picture.setRGB(x, y, (tall ? 0xff2020 : 0x2020ff) + (x * 5 << 8) + i * y);
        }
      }
      Path file = work.resolve("pictures/" + (tall ? "tall" : "wide") + "/" + i + ".png");
      Files.createDirectories(file.getParent());
      ImageIO.write(picture, "png", file.toFile());
    }
    Files.writeString(work.resolve("pictures/tall/broken.png"), "no picture");
  }

  @Test
  @Order(1)
  void picturesBecomeLatentsAndPacks() throws Exception {
    done(
        "nit-train",
        "prepare",
        "--data",
        "pictures",
        "--output",
        "latents",
        "--factor",
        "4",
        "--max-tokens",
        "64");
    assertEquals(12, Files.readAllLines(work.resolve("latents/data_meta.jsonl")).size());
    Result packed =
        done(
            "nit-train",
            "pack",
            "--data",
            "latents",
            "--max-tokens",
            "96",
            "--output",
            "packs.json");
    JsonNode packs = JSON.readTree(work.resolve("packs.json").toFile());
    int images = 0;
    for (JsonNode pack : packs) {
      images += pack.size();
    }
    assertEquals(12, images, "every picture in exactly one pack");
    assertTrue(packed.out.contains("packs"), packed.out);
  }

  @Test
  @Order(2)
  void aModelIsTrainedFromPicturesAndFromLatents() throws Exception {
    for (String data : List.of("pictures", "latents")) {
      done(
          "nit-train",
          "--config",
          "nit.json",
          "--data",
          data,
          "--output",
          "run-" + data,
          "--steps",
          "6",
          "--max-tokens",
          "96",
          "--lr",
          "1e-3",
          "--checkpoint-every",
          "3",
          "--sample-every",
          "3",
          "--sample-steps",
          "2",
          "--log-every",
          "1",
          "--threads",
          "1",
          "--codec-factor",
          "4");
      Path run = work.resolve("run-" + data);
      assertEquals(6, Files.readAllLines(run.resolve("metrics.jsonl")).size());
      assertTrue(Files.exists(run.resolve("model.safetensors")));
      assertTrue(ImageIO.read(run.resolve("loss.png").toFile()).getWidth() > 100);
      assertTrue(Files.exists(run.resolve("checkpoints/step-0000006/state.json")));
      try (Stream<Path> samples = Files.list(run.resolve("samples"))) {
        assertEquals(2, samples.filter(f -> f.toString().endsWith(".png")).count());
      }
    }
  }

  @Test
  @Order(3)
  void theModelBecomesABundleThatHasBeenVerified() throws Exception {
    done("nit-export", "--checkpoint", "run-pictures", "--output", "bundle");
    JsonNode manifest = JSON.readTree(work.resolve("bundle/bundle.json").toFile());
    assertEquals(List.of("tall", "wide"), JSON.convertValue(manifest.get("labels"), List.class));
    assertTrue(manifest.path("verification").size() > 0);
    Result info = done("nit-run", "info", "--bundle", "bundle");
    assertTrue(info.out.contains("tall") && info.out.contains("ort-cpu"), info.out);
  }

  @Test
  @Order(4)
  void picturesOfManySizesComeOutOfOnePackAndAreNotMadeTwice() throws Exception {
    String[] sample = {
      "--bundle",
      "bundle",
      "--label",
      "tall",
      "--size",
      "8x24",
      "24x8",
      "16x16",
      "4x4",
      "--count",
      "2",
      "--seed",
      "1",
      "--steps",
      "3",
      "--sampler",
      "heun",
      "--guidance",
      "2",
      "--guidance-interval",
      "0,0.7",
      "--output",
      "out"
    };
    done("nit-run", (Object[]) sample);
    List<String> report = Files.readAllLines(work.resolve("out/report.jsonl"));
    assertEquals(8, report.size());
    List<Path> pictures;
    try (Stream<Path> files = Files.list(work.resolve("out"))) {
      pictures =
          files
              .filter(f -> f.toString().endsWith(".png"))
              .filter(f -> !f.endsWith("contact-sheet.png"))
              .toList();
    }
    assertEquals(8, pictures.size());
    for (Path picture : pictures) {
      Map<String, String> text = Png.readText(picture);
      JsonNode request = JSON.readTree(text.get("nit.request"));
      BufferedImage image = ImageIO.read(picture.toFile());
      assertEquals(request.get("size").asText(), image.getWidth() + "x" + image.getHeight());
    }
    RgbImage sheet = RgbImage.of(ImageIO.read(work.resolve("out/contact-sheet.png").toFile()));
    assertTrue(sheet.width() >= 24 + 16);

    Map<Path, Long> before = modified(pictures);
    Result again = done("nit-run", (Object[]) sample);
    assertEquals(before, modified(pictures), again.err);
  }

  @Test
  @Order(5)
  void wrongUsageSaysWhatIsWrongAndLeavesNothing() throws Exception {
    Result size =
        nit("nit-run", "--bundle", "bundle", "--label", "tall", "--size", "10x24", "--output", "x");
    assertEquals(2, size.code);
    assertTrue(size.err.contains("10x24") && size.err.contains("4"), size.err);
    Result label =
        nit("nit-run", "--bundle", "bundle", "--label", "9", "--size", "8x24", "--output", "x");
    assertEquals(2, label.code);
    Result missing = nit("nit-export", "--checkpoint", "none.safetensors", "--output", "y");
    assertEquals(1, missing.code);
    assertTrue(missing.err.contains("none.safetensors"), missing.err);
    Result flat =
        nit("nit-train", "--config", "nit.json", "--data", "latents/none", "--output", "z");
    assertTrue(flat.code == 1 || flat.code == 2, flat.err);
    for (String name : List.of("x", "y", "z")) {
      assertFalse(Files.exists(work.resolve(name)), name + " was left behind");
    }
  }

  private static Map<Path, Long> modified(List<Path> files) throws IOException {
    Map<Path, Long> times = new TreeMap<>();
    for (Path file : files) {
      times.put(file, Files.getLastModifiedTime(file).toMillis());
    }
    return times;
  }
}
