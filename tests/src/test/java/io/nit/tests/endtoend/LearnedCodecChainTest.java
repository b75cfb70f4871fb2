package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.Codecs;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.exporter.cli.Export;
import io.nit.runtime.cli.Run;
import io.nit.testing.GeneratedDcAe;
import io.nit.trainer.cli.Train;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;

/**
 * The learned autoencoder through the real command lines: trained, used to prepare latents, NiT
 * trained on them, both exported into one bundle, and pictures sampled from it.
 */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class LearnedCodecChainTest {
  private static final String NIT =
      """
      {"hidden_size": 32, "depth": 2, "num_heads": 2, "num_classes": 2, "in_channels": 8,
       "qk_norm": true, "encoder_depth": 1, "projector_dim": 16, "z_dim": 16}
      """;

  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir static Path work;

  private static DcAeSpec autoencoder() throws IOException {
    return DcAeFolder.open(work.resolve("ae/autoencoder")).spec();
  }

  private static Processes.Finished done(Class<?> main, Object... arguments)
      throws IOException, InterruptedException {
    Processes.Finished finished = Processes.run(main, work, arguments);
    assertEquals(0, finished.code(), finished.err());
    return finished;
  }

  @BeforeAll
  static void drawPictures() throws IOException {
    Files.writeString(work.resolve("nit.json"), NIT);
    Files.writeString(work.resolve("ae.json"), GeneratedDcAe.small().toNode().toString());
    for (int i = 0; i < 12; i++) {
      boolean tall = i % 2 == 0;
      int width = tall ? 16 + 8 * (i % 3) : 40;
      int height = tall ? 40 : 17 + 8 * (i % 3);
      byte[] rgb = new byte[3 * width * height];
      for (int p = 0; p < width * height; p++) {
        rgb[3 * p + (tall ? 0 : 2)] = (byte) (40 * i + p % width * 6);
        rgb[3 * p + 1] = (byte) (p / width * 6);
      }
      Path file = work.resolve("pictures/" + (tall ? "tall" : "wide") + "/" + i + ".png");
      Png.write(file, new RgbImage(width, height, rgb), Map.of());
    }
  }

  @Test
  @Order(1)
  void anAutoencoderIsTrained() throws Exception {
    done(
        Train.class,
        "autoencoder",
        "--config",
        work.resolve("ae.json"),
        "--data",
        work.resolve("pictures"),
        "--output",
        work.resolve("ae"),
        "--steps",
        4,
        "--batch",
        4,
        "--crop",
        16,
        "--device",
        "cpu",
        "--quiet");
    DcAeFolder made = DcAeFolder.open(work.resolve("ae/autoencoder"));
    assertTrue(made.config().scalingFactor() > 0);
    made.openWeights().close();
  }

  @Test
  @Order(2)
  void latentsArePreparedWithIt() throws Exception {
    Processes.Finished prepared =
        done(
            Train.class,
            "prepare",
            "--data",
            work.resolve("pictures"),
            "--output",
            work.resolve("latents"),
            "--autoencoder",
            work.resolve("ae/autoencoder"),
            "--max-tokens",
            128,
            "--device",
            "cpu",
            "--quiet");
    assertTrue(prepared.out().contains("12 pictures: 12 latents written"), prepared.out());
    JsonNode dataset = JSON.readTree(work.resolve("latents/dataset.json").toFile());
    assertEquals(autoencoder(), Codecs.of(dataset.get("codec"), "dataset.json"));
    for (String line : Files.readAllLines(work.resolve("latents/data_meta.jsonl"))) {
      JsonNode row = JSON.readTree(line); // sides are cut to whole latent pixels
      assertEquals(row.get("ori_w").asInt() / 8, row.get("latent_w").asInt(), line);
      assertEquals(row.get("ori_h").asInt() / 8, row.get("latent_h").asInt(), line);
    }
  }

  @Test
  @Order(3)
  void nitIsTrainedOnThemAndItsSamplesAreDecoded() throws Exception {
    done(
        Train.class,
        "--config",
        work.resolve("nit.json"),
        "--data",
        work.resolve("latents"),
        "--output",
        work.resolve("run"),
        "--steps",
        3,
        "--max-tokens",
        128,
        "--sample-every",
        3,
        "--sample-steps",
        2,
        "--device",
        "cpu",
        "--threads",
        1,
        "--quiet");
    assertTrue(ImageIO.read(work.resolve("run/samples/step-0000003.png").toFile()).getWidth() > 16);
    try (TensorSource model = SafetensorsFile.open(work.resolve("run/model.safetensors"))) {
      JsonNode codec = JSON.readTree(model.metadata().get("codec"));
      assertEquals(autoencoder(), Codecs.of(codec, "model.safetensors"));
      assertFalse(model.metadata().toString().contains(work.toString()), "no path of this machine");
    }
  }

  @Test
  @Order(4)
  void bothAreExportedIntoOneBundle() throws Exception {
    done(
        Export.class,
        "--checkpoint",
        work.resolve("run/model.safetensors"),
        "--autoencoder",
        work.resolve("ae/autoencoder"),
        "--output",
        work.resolve("bundle"),
        "--max-tokens",
        128,
        "--quiet");
    Bundle bundle = Bundle.open(work.resolve("bundle"));
    bundle.verifyHashes();
    assertEquals(Optional.of(autoencoder()), bundle.codec());
    assertEquals(8, ((DcAeSpec) bundle.codec().orElseThrow()).factor());
    assertFalse(bundle.verification().isEmpty());
  }

  @Test
  @Order(5)
  void picturesAreSampledFromTheBundle() throws Exception {
    Object[] arguments = {
      "--bundle",
      work.resolve("bundle"),
      "--label",
      "tall",
      "--size",
      "32x40",
      "--count",
      2,
      "--steps",
      2,
      "--output",
      work.resolve("out"),
      "--quiet"
    };
    done(Run.class, arguments);
    Path sheet = work.resolve("out/contact-sheet.png");
    assertTrue(Files.exists(sheet));
    String report = Files.readString(work.resolve("out/report.jsonl"));
    assertEquals(2, report.lines().count(), report);
    // In tiles on request, and the same pictures without: same size, close values.
    done(
        Run.class,
        "--bundle",
        work.resolve("bundle"),
        "--label",
        "tall",
        "--size",
        "32x40",
        "--count",
        2,
        "--steps",
        2,
        "--output",
        work.resolve("tiled"),
        "--tile-above",
        1,
        "--tile",
        16,
        "--tile-stride",
        8,
        "--quiet");
    try (var files = Files.list(work.resolve("out"))) {
      for (Path file : files.filter(f -> f.toString().endsWith(".png")).toList()) {
        if (!file.equals(sheet)) {
          int[] whole = size(file);
          assertArrayEquals(new int[] {32, 40}, whole);
          assertArrayEquals(whole, size(work.resolve("tiled").resolve(file.getFileName())));
        }
      }
    }
  }

  @Test
  @Order(6)
  void aTileStrideBeyondTheTileIsBadUsage() throws Exception {
    Processes.Finished finished =
        Processes.run(
            Run.class,
            work,
            "--bundle",
            work.resolve("bundle"),
            "--label",
            "tall",
            "--size",
            "32x40",
            "--output",
            work.resolve("never"),
            "--tile",
            16,
            "--tile-stride",
            24);
    assertEquals(2, finished.code(), finished.err());
    assertTrue(finished.err().contains("--tile-stride"), finished.err());
    assertFalse(Files.exists(work.resolve("never")));
  }

  private static int[] size(Path file) throws IOException {
    var image = ImageIO.read(file.toFile());
    return new int[] {image.getWidth(), image.getHeight()};
  }
}
