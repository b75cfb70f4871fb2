package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.image.Png;
import io.nit.samples.BatchRequests;
import io.nit.samples.EmbedPipeline;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class SamplesTest {
  @TempDir static Path folder;
  private static Path bundle;

  @BeforeAll
  static void export() throws Exception {
    bundle = Bundles.pictures(folder, 1);
  }

  @Test
  void embedPipelineWritesThreePicturesOfDifferentSizes() throws Exception {
    Path output = folder.resolve("embed");
    EmbedPipeline.main(new String[] {bundle.toString(), output.toString(), "3"});
    assertSize(24, 24, output.resolve("square.png"));
    assertSize(36, 16, output.resolve("wide.png"));
    assertSize(16, 36, output.resolve("tall.png"));
    assertTrue(Png.readText(output.resolve("tall.png")).get("request").contains("\"seed\":3"));
  }

  @Test
  void batchRequestsWritesEveryClassAndCountsTheSteps() throws Exception {
    Path output = folder.resolve("batch");
    String out = output(() -> BatchRequests.main(arguments(output, "4", "600")));
    assertTrue(out.startsWith("16 steps, 4 pictures"), out);
    assertSize(16, 24, output.resolve("class-0.png"));
    assertSize(28, 24, output.resolve("class-3.png"));
  }

  @Test
  void batchRequestsStopsWhenItsTimeIsUp() throws Exception {
    Path output = folder.resolve("stopped");
    String out = output(() -> BatchRequests.main(arguments(output, "100000", "1")));
    assertTrue(out.startsWith("stopped after"), out);
    assertFalse(Files.exists(output));
  }

  private static String[] arguments(Path output, String steps, String seconds) {
    return new String[] {bundle.toString(), output.toString(), steps, seconds};
  }

  private interface Main {
    void run() throws Exception;
  }

  private static String output(Main main) throws Exception {
    PrintStream before = System.out;
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    System.setOut(new PrintStream(bytes, true, StandardCharsets.UTF_8));
    try {
      main.run();
    } finally {
      System.setOut(before);
    }
    return bytes.toString(StandardCharsets.UTF_8);
  }

  private static void assertSize(int width, int height, Path png) throws Exception {
    BufferedImage image = ImageIO.read(png.toFile());
    assertEquals(width, image.getWidth());
    assertEquals(height, image.getHeight());
  }
}
