package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.Codecs;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.testing.GeneratedDcAe;
import io.nit.trainer.cli.Train;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.MethodOrderer;
import org.junit.jupiter.api.Order;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestMethodOrder;
import org.junit.jupiter.api.io.TempDir;

/** From pictures and an autoencoder to a model of its latents, through the real command lines. */
@TestMethodOrder(MethodOrderer.OrderAnnotation.class)
class AutoencoderChainTest {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String CONFIG =
      """
      {"hidden_size": 32, "depth": 2, "num_heads": 2, "num_classes": 2, "in_channels": 8, "qk_norm": true,
       "encoder_depth": 1, "projector_dim": 16, "z_dim": 16}
      """;

  @TempDir static Path work;

  private static DcAeSpec autoencoder;

  private static Processes.Finished done(Class<?> main, Object... arguments)
      throws IOException, InterruptedException {
    Processes.Finished finished = Processes.run(main, work, arguments);
    assertEquals(0, finished.code(), finished.err());
    return finished;
  }

  @BeforeAll
  static void makeInputs() throws IOException {
    Files.writeString(work.resolve("nit.json"), CONFIG);
    Path folder = GeneratedDcAe.write(work.resolve("dc-ae"), GeneratedDcAe.small());
    autoencoder = DcAeFolder.open(folder).spec();
    for (int i = 0; i < 8; i++) {
      boolean tall = i % 2 == 0;
      int width = tall ? 16 + 8 * (i % 3) : 43; // 43: floored to 40
      int height = tall ? 40 : 24;
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
  }

  @Test
  @Order(1)
  void picturesBecomeLatentsOfTheAutoencoder() throws Exception {
    Processes.Finished prepared =
        done(
            Train.class,
            "prepare",
            "--data",
            work.resolve("pictures"),
            "--output",
            work.resolve("latents"),
            "--autoencoder",
            work.resolve("dc-ae"),
            "--device",
            "cpu");
    assertTrue(prepared.out().contains("8 pictures: 8 latents written"), prepared.out());
    JsonNode dataset = JSON.readTree(work.resolve("latents/dataset.json").toFile());
    assertEquals(autoencoder, Codecs.of(dataset.get("codec"), "dataset.json"));
    JsonNode row =
        JSON.readTree(Files.readAllLines(work.resolve("latents/data_meta.jsonl")).get(7));
    assertEquals("43x24", row.get("ori_w").asInt() + "x" + row.get("ori_h").asInt());
    assertEquals("5x3", row.get("latent_w").asInt() + "x" + row.get("latent_h").asInt());
  }

  @Test
  @Order(2)
  void aModelIsTrainedOnThemAndNamesTheAutoencoder() throws Exception {
    done(
        Train.class,
        "--config",
        work.resolve("nit.json"),
        "--data",
        work.resolve("latents"),
        "--output",
        work.resolve("run"),
        "--steps",
        "4",
        "--max-tokens",
        "64",
        "--lr",
        "1e-3",
        "--sample-every",
        "2",
        "--sample-steps",
        "2",
        "--sample-size",
        "16x24",
        "--threads",
        "1",
        "--device",
        "cpu");
    assertTrue(ImageIO.read(work.resolve("run/samples/step-0000004.png").toFile()).getWidth() > 24);
    try (SafetensorsFile model = SafetensorsFile.open(work.resolve("run/model.safetensors"))) {
      JsonNode codec = JSON.readTree(model.metadata().get("codec"));
      assertEquals(autoencoder, Codecs.of(codec, "model.safetensors"));
    }
  }
}
