package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.exporter.cli.Export;
import io.nit.runtime.cli.Run;
import io.nit.testing.OpenFiles;
import io.nit.testing.Signals;
import io.nit.trainer.cli.Train;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Real signals to real commands: a job that is stopped ends with 128 and the signal's number. */
@Timeout(180)
class StoppedCommandsTest {
  private static final Path SAMPLES = Path.of("..", "samples");

  @TempDir static Path shared;
  @TempDir Path folder;

  private static Path bundle;

  @BeforeAll
  static void export() throws IOException {
    bundle = Bundles.pictures(shared, 1);
  }

  private static void await(Processes.Running running, Callable<Boolean> sign) throws Exception {
    while (!sign.call()) {
      assertTrue(running.process().isAlive(), Files.readString(running.err()));
      Thread.sleep(5);
    }
  }

  private static Processes.Finished stopped(String signal, int code, Processes.Running running)
      throws Exception {
    send(signal, running.process());
    Processes.Finished finished = running.await();
    assertEquals(code, finished.code(), finished.err());
    return finished;
  }

  private static void send(String signal, Process to) throws Exception {
    new ProcessBuilder("kill", "-" + signal, Long.toString(to.pid())).start().waitFor();
  }

  private static boolean reads(Process process, Path file) throws IOException {
    return OpenFiles.has(process.toHandle(), file);
  }

  /** A file that whoever reads it waits in, until it is written to and closed. */
  private static RandomAccessFile pipe(Path file) throws Exception {
    assertEquals(0, new ProcessBuilder("mkfifo", file.toString()).start().waitFor());
    return new RandomAccessFile(file.toFile(), "rw");
  }

  private static List<Path> pieces(Path in) throws IOException {
    try (Stream<Path> all = Files.walk(in)) {
      return all.filter(file -> file.getFileName().toString().contains(".tmp")).toList();
    }
  }

  @ParameterizedTest
  @CsvSource({"info, INT, 130", "info, TERM, 143", "compare, TERM, 143"})
  void aCommandThatNeverLooksForSignalsEndsAtOnce(String command, String signal, int code)
      throws Exception {
    Signals.requireHeard(signal);
    Path manifest = folder.toRealPath().resolve("bundle.json");
    try (RandomAccessFile held = pipe(manifest)) {
      Processes.Running running = Processes.start(Run.class, folder, command, "--bundle", folder);
      await(running, () -> reads(running.process(), manifest));
      assertEquals("stopped\n", stopped(signal, code, running).err());
    }
  }

  @ParameterizedTest
  @CsvSource({"INT, 130", "TERM, 143"})
  void prepareKeepsWhatIsDoneAndTheSameCommandGoesOn(String signal, int code) throws Exception {
    Signals.requireHeard(signal);
    Path pictures = Files.createDirectories(folder.resolve("pictures/one"));
    Path picture;
    try (Stream<Path> all = Files.walk(SAMPLES.resolve("data/fashion10"))) {
      picture = all.filter(file -> file.toString().endsWith(".png")).findFirst().orElseThrow();
    }
    Path original = Files.copy(picture, pictures.resolve("0.png"));
    int count = 3000; // more than it ends with however late the signal comes
    for (int i = 1; i < count; i++) {
      Files.createLink(pictures.resolve(i + ".png"), original);
    }
    Path output = folder.resolve("latents");
    Object[] words = {
      "prepare", "--data", pictures.getParent(), "--output", output, "--workers", "1"
    };
    Processes.Running running = Processes.start(Train.class, folder, words);
    await(running, () -> Files.exists(output.resolve("latents")));
    Processes.Finished first = stopped(signal, code, running);
    assertTrue(
        first.err().contains("of 3000 images; the same command goes on from there"), first.err());
    assertEquals(List.of(), pieces(output));
    assertFalse(Files.exists(output.resolve("data_meta.jsonl")));
    // Enough to see that it goes on; the whole set would only take longer.
    for (int i = 100; i < count; i++) {
      Files.delete(pictures.resolve(i + ".png"));
    }
    Processes.Finished second = Processes.run(Train.class, folder, words);
    assertEquals(0, second.code(), second.err());
    assertTrue(second.out().startsWith("100 pictures: "), second.out());
    assertFalse(second.out().contains(" 0 there already"), second.out());
  }

  private Processes.Running autoencoder(Path data, Path output, String... more) throws Exception {
    List<Object> words = new ArrayList<>(List.of("autoencoder", "--device", "cpu"));
    words.addAll(List.of("--config", SAMPLES.resolve("autoencoder/dc-ae-f8.json")));
    words.addAll(List.of("--data", data, "--output", output));
    words.addAll(List.of(more));
    return Processes.start(Train.class, folder, words.toArray());
  }

  @Test
  void anAutoencodersTrainingIsSavedAndNotDone() throws Exception {
    Signals.requireHeard("TERM");
    Path output = folder.resolve("ae");
    Processes.Running running =
        autoencoder(
            SAMPLES.resolve("data/fashion10"),
            output,
            "--crop",
            "16",
            "--batch",
            "1",
            "--checkpoint-every",
            "1",
            "--sample-every",
            "0");
    await(running, () -> Files.exists(output.resolve("checkpoints/step-0000001")));
    Processes.Finished finished = stopped("TERM", 143, running);
    assertTrue(finished.err().contains("with --resume auto (the default)"), finished.err());
    assertFalse(Files.exists(output.resolve("autoencoder")));
    assertEquals(List.of(), pieces(output));
  }

  @Test
  void anAutoencodersTrainingEndsAtOnceWhilePicturesAreRead() throws Exception {
    Signals.requireHeard("TERM");
    Path pictures = Files.createDirectories(folder.toRealPath().resolve("pictures"));
    BufferedImage large = new BufferedImage(3000, 3000, BufferedImage.TYPE_INT_RGB);
    Path original = pictures.resolve("0.png");
    ImageIO.write(large, "png", original.toFile());
    for (int i = 1; i < 400; i++) {
      Files.createLink(pictures.resolve(i + ".png"), original);
    }
    Path output = folder.resolve("ae");
    Processes.Running running = autoencoder(pictures, output, "--quiet");
    await(running, () -> reads(running.process(), pictures));
    assertEquals("stopped\n", stopped("TERM", 143, running).err());
    assertFalse(Files.exists(output));
  }

  @Test
  void anExportLeavesNothing() throws Exception {
    Signals.requireHeard("TERM");
    Path labels = folder.toRealPath().resolve("labels.txt");
    Path output = folder.resolve("bundle");
    Processes.Running running;
    try (RandomAccessFile held = pipe(labels)) {
      running =
          Processes.start(
              Export.class,
              folder,
              "--checkpoint",
              shared.resolve("pictures-1.safetensors"),
              "--labels",
              labels,
              "--output",
              output);
      await(running, () -> reads(running.process(), labels));
      send("TERM", running.process());
      Thread.sleep(500); // it is noted by then, on a thread of its own
      held.write("a\nb\nc\nd\n".getBytes(StandardCharsets.UTF_8));
    }
    Processes.Finished finished = running.await();
    assertEquals(143, finished.code(), finished.err());
    assertTrue(finished.err().contains("stopped; nothing is left"), finished.err());
    assertFalse(Files.exists(output));
    assertEquals(List.of(), pieces(folder));
  }
}
