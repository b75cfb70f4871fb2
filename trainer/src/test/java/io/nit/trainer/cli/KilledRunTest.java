package io.nit.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.cli.Cli;
import io.nit.testing.OpenFiles;
import io.nit.testing.Signals;
import io.nit.trainer.data.Pictures;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** nit-train as a process of its own, ended from outside. */
class KilledRunTest {
  private static final int STEPS = 120;
  private static final int STEPS_OF_SEVERAL = 60;

  private static final List<String> RESULTS =
      List.of(
          "model.safetensors",
          "checkpoints/step-0000120/model.safetensors",
          "checkpoints/step-0000120/ema.safetensors",
          "checkpoints/step-0000120/optimizer.safetensors");

  @TempDir Path folder;

  @BeforeEach
  void makeData() throws IOException {
    Pictures.folder(folder.resolve("data"), 24);
    Files.writeString(
        folder.resolve("tiny.json"),
        "{\"hidden_size\": 16, \"depth\": 2, \"num_heads\": 2, \"in_channels\": 48, "
            + "\"num_classes\": 3, \"qk_norm\": true, \"encoder_depth\": 1}");
  }

  private Process start(String output) throws IOException {
    return start(output, STEPS);
  }

  private Process start(String output, int steps, String... more) throws IOException {
    List<String> command =
        new ArrayList<>(
            List.of(
                Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                "-Xmx512m",
                "-Djava.awt.headless=true",
                "-Dorg.bytedeco.javacpp.maxphysicalbytes=0",
                Train.class.getName()));
    command.addAll(List.of("--config", "tiny.json", "--output", output));
    if (!List.of(more).contains("--data")) {
      command.addAll(List.of("--data", "data"));
    }
    command.addAll(List.of("--steps", String.valueOf(steps), "--max-tokens", "40", "--lr", "1e-3"));
    command.addAll(List.of("--checkpoint-every", "14", "--keep", "2", "--threads", "1"));
    command.addAll(List.of("--sample-every", "50", "--sample-steps", "2", "--quiet"));
    command.addAll(List.of(more));
    ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
    builder.environment().put("CLASSPATH", System.getProperty("java.class.path"));
    builder.redirectErrorStream(true);
    builder.redirectOutput(ProcessBuilder.Redirect.appendTo(log(output).toFile()));
    return builder.start();
  }

  private Path log(String output) {
    return folder.resolve(output + ".log");
  }

  private int finish(Process process) throws InterruptedException {
    assertTrue(process.waitFor(2, TimeUnit.MINUTES), "nit-train did not end");
    return process.exitValue();
  }

  /** Waits until the run has written a checkpoint, and a random while longer. */
  private void letRun(Process process, String output, Random random)
      throws IOException, InterruptedException {
    Path checkpoints = folder.resolve(output).resolve("checkpoints");
    long before = newest(checkpoints);
    while (process.isAlive() && newest(checkpoints) <= before) {
      Thread.sleep(5);
    }
    Thread.sleep(random.nextInt(300));
  }

  private static long newest(Path checkpoints) throws IOException {
    if (!Files.isDirectory(checkpoints)) {
      return -1;
    }
    try (Stream<Path> entries = Files.list(checkpoints)) {
      return entries
          .map(path -> path.getFileName().toString())
          .filter(name -> name.startsWith("step-"))
          .mapToLong(name -> Long.parseLong(name.substring("step-".length())))
          .max()
          .orElse(-1);
    }
  }

  @Test
  void aRunKilledAtAnyMomentReachesTheSameBytesAsAnUnbrokenOne()
      throws IOException, InterruptedException {
    long seed = System.nanoTime();
    Random random = new Random(seed);
    Process unbroken = start("unbroken");
    for (int kill = 0; kill < 2; kill++) {
      Process victim = start("killed");
      letRun(victim, "killed", random);
      victim.destroyForcibly();
      finish(victim);
    }
    assertEquals(Cli.DONE, finish(start("killed")), () -> read("killed"));
    assertEquals(Cli.DONE, finish(unbroken), () -> read("unbroken"));
    for (String result : RESULTS) {
      Path expected = folder.resolve("unbroken").resolve(result);
      Path found = folder.resolve("killed").resolve(result);
      assertEquals(-1, Files.mismatch(expected, found), result + " differs; seed " + seed);
    }
    assertEquals(rows("unbroken"), rows("killed"), "steps in metrics.jsonl; seed " + seed);
  }

  private List<String> rows(String output) throws IOException {
    return Files.readAllLines(folder.resolve(output).resolve("metrics.jsonl")).stream()
        .map(line -> line.substring(0, line.indexOf(',')))
        .toList();
  }

  private String read(String output) {
    try {
      return Files.readString(log(output));
    } catch (IOException e) {
      return e.toString();
    }
  }

  @ParameterizedTest
  @CsvSource({"TERM, 143", "INT, 130", "HUP, 129"})
  void aSignalEndsWithACheckpointThatTheSameCommandGoesOnFrom(String signal, int code)
      throws IOException, InterruptedException {
    Signals.requireHeard(signal);
    Process process = start("stopped");
    letRun(process, "stopped", new Random(1));
    send(signal, process.toHandle());
    assertEquals(code, finish(process), () -> read("stopped"));
    assertTrue(read("stopped").contains("goes on from there, with --resume auto"));
    long stoppedAt = newest(folder.resolve("stopped/checkpoints"));
    assertTrue(stoppedAt >= 14 && stoppedAt < STEPS, "stopped at step " + stoppedAt);
    assertEquals(Cli.DONE, finish(start("stopped")), () -> read("stopped"));
    assertEquals(STEPS, newest(folder.resolve("stopped/checkpoints")));
  }

  @ParameterizedTest
  @CsvSource({"2, 1, false", "3, 0, true"})
  void aRankThatIsKilledEndsAllAndTheSameCommandGoesOn(int count, int victim, boolean sharded)
      throws IOException, InterruptedException {
    List<String> more = new ArrayList<>(List.of("--nproc", String.valueOf(count)));
    if (sharded) {
      more.add("--shard-optimizer");
    }
    String[] flags = more.toArray(String[]::new);
    Process launcher = start("ranks", STEPS_OF_SEVERAL, flags);
    letRun(launcher, "ranks", new Random(2));
    List<ProcessHandle> ranks = launcher.children().toList();
    assertEquals(count, ranks.size());
    ranks.get(victim).destroyForcibly();
    assertEquals(Cli.FAILED, finish(launcher), () -> read("ranks"));
    for (ProcessHandle rank : ranks) {
      assertFalse(rank.isAlive(), "a rank outlived its peer");
    }
    String log = read("ranks");
    assertTrue(log.contains("is gone: ") && log.contains("was killed (exit code 137)"), log);
    assertTrue(newest(folder.resolve("ranks/checkpoints")) >= 14, log);

    assertEquals(Cli.DONE, finish(start("ranks", STEPS_OF_SEVERAL, flags)), () -> read("ranks"));
    assertEquals(STEPS_OF_SEVERAL, newest(folder.resolve("ranks/checkpoints")));
    assertTrue(Files.isRegularFile(folder.resolve("ranks/model.safetensors")));
    List<String> expected = new ArrayList<>();
    for (int step = 10; step <= STEPS_OF_SEVERAL; step += 10) {
      expected.add("{\"step\":" + step);
    }
    assertEquals(expected, rows("ranks"), "one process writes the metrics");
  }

  @ParameterizedTest
  @CsvSource({"TERM, 143, false", "INT, 130, false", "TERM, 143, true"})
  void aSignalToTheLauncherOrToOneRankReachesEveryRank(String signal, int code, boolean toARank)
      throws IOException, InterruptedException {
    Signals.requireHeard(signal);
    Process launcher = start("ended", STEPS, "--nproc=2");
    letRun(launcher, "ended", new Random(3));
    List<ProcessHandle> ranks = launcher.children().toList();
    send(signal, toARank ? ranks.get(1) : launcher.toHandle());
    assertEquals(code, finish(launcher), () -> read("ended"));
    long stoppedAt = newest(folder.resolve("ended/checkpoints"));
    assertTrue(stoppedAt >= 14 && stoppedAt < STEPS, "stopped at step " + stoppedAt);
    assertEquals(2, read("ended").split("stopped at step ").length, read("ended"));
    assertFalse(ranks.stream().anyMatch(ProcessHandle::isAlive));
  }

  private static final int MANY = 400;

  /** Pictures that take a while to be read. */
  private void makeMany() throws IOException {
    Path large = Pictures.png(folder.resolve("many/ant/0.png"), 1500, 1500, 1);
    for (int i = 1; i < MANY; i++) {
      Files.createLink(large.resolveSibling(i + ".png"), large);
    }
  }

  /** Waits until a process has a picture of {@link #makeMany} open. */
  private void letRead(ProcessHandle process) throws IOException, InterruptedException {
    Path pictures = folder.toRealPath().resolve("many/ant");
    while (process.isAlive() && !OpenFiles.has(process, pictures)) {
      Thread.sleep(1);
    }
  }

  @ParameterizedTest
  @CsvSource({"TERM, 143", "INT, 130", "HUP, 129"})
  void aSignalWhilePicturesAreReadEndsAtOnceAndLeavesNothing(String signal, int code)
      throws IOException, InterruptedException {
    Signals.requireHeard(signal);
    makeMany();
    Process process = start("early", STEPS, "--data", "many");
    letRead(process.toHandle());
    send(signal, process.toHandle());
    assertEquals(code, finish(process), () -> read("early"));
    assertEquals("stopped", read("early").strip());
    assertFalse(Files.exists(folder.resolve("early")));
  }

  @Test
  void aSignalWhilePicturesAreReadEndsAllRanksAtOnce() throws IOException, InterruptedException {
    Signals.requireHeard("INT");
    makeMany();
    Process launcher = start("early", STEPS, "--data", "many", "--nproc", "2");
    while (launcher.isAlive() && launcher.children().count() < 2) {
      Thread.sleep(5);
    }
    List<ProcessHandle> ranks = launcher.children().toList();
    assertEquals(2, ranks.size(), () -> read("early"));
    for (ProcessHandle rank : ranks) {
      letRead(rank);
    }
    send("INT", launcher.toHandle());
    assertEquals(130, finish(launcher), () -> read("early"));
    assertFalse(ranks.stream().anyMatch(ProcessHandle::isAlive));
    assertFalse(Files.exists(folder.resolve("early")));
  }

  private static void send(String signal, ProcessHandle to)
      throws IOException, InterruptedException {
    Process kill = new ProcessBuilder("kill", "-" + signal, String.valueOf(to.pid())).start();
    assertEquals(0, kill.waitFor());
  }

  @Test
  void aNumberOfProcessesOutOfRangeIsBadUsage() throws IOException, InterruptedException {
    assertEquals(Cli.BAD_USAGE, finish(start("none", 1, "--nproc", "0")), () -> read("none"));
    assertTrue(read("none").contains("--nproc: expected 1..1024, found 0"), read("none"));
  }
}
