package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.params.provider.Arguments.arguments;

import io.nit.core.image.Png;
import io.nit.samples.BatchRequests;
import io.nit.samples.EmbedPipeline;
import java.awt.image.BufferedImage;
import java.io.ByteArrayOutputStream;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;

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
    String out = output(() -> BatchRequests.main(words(output, "4", "600")));
    assertTrue(out.startsWith("16 steps, 4 pictures"), out);
    assertSize(16, 24, output.resolve("class-0.png"));
    assertSize(28, 24, output.resolve("class-3.png"));
  }

  @Test
  void batchRequestsStopsWhenItsTimeIsUp() throws Exception {
    Path output = folder.resolve("stopped");
    String out = output(() -> BatchRequests.main(words(output, "100000", "1")));
    assertTrue(out.startsWith("stopped after"), out);
    assertFalse(Files.exists(output));
  }

  private static final String EMBED = "EmbedPipeline BUNDLE OUTPUT [STEPS]";
  private static final String BATCH = "BatchRequests BUNDLE OUTPUT STEPS SECONDS";

  static List<Arguments> failures() {
    return List.of(
        arguments(EmbedPipeline.class, "", 2, "usage: " + EMBED),
        arguments(EmbedPipeline.class, "BUNDLE", 2, "usage: " + EMBED),
        arguments(EmbedPipeline.class, "BUNDLE OUTPUT 3 4", 2, "usage: " + EMBED),
        arguments(EmbedPipeline.class, "BUNDLE OUTPUT few", 2, "usage: " + EMBED),
        arguments(
            EmbedPipeline.class,
            "absent OUTPUT",
            1,
            "error: absent/bundle.json: expected a bundle made by nit-export"),
        arguments(EmbedPipeline.class, "BUNDLE OUTPUT 0", 1, "error: steps: expected "),
        arguments(EmbedPipeline.class, "BUNDLE FILE/folder 3", 1, "error: "),
        arguments(BatchRequests.class, "", 2, "usage: " + BATCH),
        arguments(BatchRequests.class, "BUNDLE OUTPUT 4", 2, "usage: " + BATCH),
        arguments(
            BatchRequests.class,
            "absent OUTPUT 4 600",
            1,
            "error: absent/bundle.json: expected a bundle made by nit-export"),
        arguments(BatchRequests.class, "BUNDLE OUTPUT -1 600", 1, "error: steps: expected "));
  }

  @ParameterizedTest
  @MethodSource("failures")
  void whatFailsIsOneLineAndAnExitCode(Class<?> sample, String words, int code, String line)
      throws Exception {
    Path file = Files.writeString(folder.resolve("file"), "");
    Object[] arguments =
        words
            .replace("BUNDLE", bundle.toString())
            .replace("OUTPUT", folder.resolve("failed").toString())
            .replace("FILE", file.toString())
            .split(" ");
    Processes.Finished run =
        Processes.run(sample, folder, words.isEmpty() ? new Object[0] : arguments);
    assertEquals(code, run.code(), run.err());
    assertEquals(1, run.err().lines().count(), run.err());
    assertTrue(run.err().startsWith(line), run.err());
    assertFalse(Files.exists(folder.resolve("failed")));
  }

  private static String[] words(Path output, String steps, String seconds) {
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
