package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.image.RgbImage;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.RequestJson;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;

/** The bundle that comes with the project, and what the quick start asks of it. */
class SampleBundleTest {
  private static final Path SAMPLES = Path.of("..", "samples");
  private static final Path BUNDLE = SAMPLES.resolve("bundle");

  @Test
  void itsFilesAreWholeAndSmall() throws Exception {
    Bundle.open(BUNDLE).verifyHashes();
    long bytes = 0;
    try (Stream<Path> files = Files.list(BUNDLE)) {
      for (Path file : files.toList()) {
        bytes += Files.size(file);
      }
    }
    assertTrue(bytes <= 12_000_000, bytes + " bytes");
  }

  @Test
  void itsDecoderIsThatOfTheAutoencoderBesideIt() throws Exception {
    assertEquals(
        DcAeFolder.open(SAMPLES.resolve("autoencoder/f8c16")).spec(),
        Bundle.open(BUNDLE).codec().orElseThrow());
  }

  @Test
  void itTakesEveryRequestOfTheQuickStart() throws Exception {
    List<String> lines = Files.readAllLines(SAMPLES.resolve("quickstart/requests.jsonl"));
    try (NitPipeline pipeline = NitPipeline.open(BUNDLE)) {
      for (String line : lines) {
        pipeline.rules().check(RequestJson.read(line, pipeline.request()));
      }
      long sizes =
          lines.stream()
              .map(line -> RequestJson.read(line, pipeline.request()))
              .map(request -> List.of(request.width(), request.height()))
              .distinct()
              .count();
      assertTrue(sizes >= 10, sizes + " sizes");
    }
  }

  /** At a size that the card says it was never trained at, in few steps. */
  @Test
  void aRedHeartLiesOnWhite() throws Exception {
    try (NitPipeline pipeline = NitPipeline.open(BUNDLE)) {
      ImageRequest request =
          pipeline.request().label("heart").size(72, 64).seed(300).steps(10).build();
      RgbImage image = pipeline.submit(request).get().image().orElseThrow();
      for (int[] corner : new int[][] {{0, 0}, {71, 0}, {0, 63}, {71, 63}}) {
        assertTrue(colour(image, corner[0], corner[1], 0) > 200, "a corner's red");
        assertTrue(colour(image, corner[0], corner[1], 1) > 200, "a corner's green");
      }
      assertTrue(colour(image, 30, 36, 0) > 150, "the heart's red");
      assertTrue(colour(image, 30, 36, 1) < 120, "the heart's green");
    }
  }

  private static int colour(RgbImage image, int x, int y, int channel) {
    return image.rgb()[(y * image.width() + x) * 3 + channel] & 0xff;
  }
}
