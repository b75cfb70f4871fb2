package io.nit.trainer.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.cli.Cli;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.testing.Signals;
import io.nit.trainer.data.Pictures;
import io.nit.trainer.dist.LocalRanks;
import io.nit.trainer.dist.NcclWork;
import java.io.File;
import java.io.IOException;
import java.net.URI;
import java.net.URL;
import java.net.URLClassLoader;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import java.util.stream.Stream;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/**
 * nit-train on GPUs, as processes: one, and two of one host over NCCL. The tests of two skip where
 * there are fewer; two ranks on one GPU are what NCCL refuses.
 */
@Tag("gpu")
class RanksGpuTest {
  private static final int STEPS = 20;
  private static final int LONG_STEPS = 4000;

  /**
   * Sums in another order, and atomic additions, over so many steps of AdamW, which makes as much
   * of a gradient that is but rounding noise as of any other.
   */
  private record Bounds(double losses, double weights) {
    static Bounds of(String step) {
      return step.equals("fused") ? new Bounds(2e-2, 1e-1) : new Bounds(2e-3, 2e-2);
    }
  }

  @TempDir static Path folder;

  private static long gpus;

  @BeforeAll
  static void makeData() throws IOException {
    gpus = torch.cuda_is_available() ? torch.cuda_device_count() : 0;
    if (gpus == 0) {
      System.out.println("RanksGpuTest skipped: libtorch finds no CUDA device");
    }
    assumeTrue(gpus > 0, "libtorch finds no CUDA device");
    Pictures.folder(folder.resolve("data"), 24);
    for (int i = 0; i < 24; i++) {
      Pictures.png(
          folder.resolve("large").resolve("class" + i % 3 + "/" + i + ".png"), 128, 128, i);
    }
    write("tiny.json", 64, 2);
    write("base.json", 768, 12);
  }

  private static void write(String file, int width, int depth) throws IOException {
    String config =
        "{\"hidden_size\": %d, \"depth\": %d, \"num_heads\": %d, \"in_channels\": 48, "
            + "\"num_classes\": 3, \"qk_norm\": true, \"encoder_depth\": 1}";
    Files.writeString(
        folder.resolve(file), String.format(Locale.ROOT, config, width, depth, width / 64));
  }

  private static void needsTwo(String test) {
    if (gpus < 2) {
      System.out.println("RanksGpuTest." + test + " skipped: expected 2 GPUs, found " + gpus);
    }
    assumeTrue(gpus >= 2, "expected 2 GPUs, found " + gpus);
  }

  private static ProcessBuilder java(Class<?> main, Path log, List<String> arguments) {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.add("-Djava.awt.headless=true");
    command.add("-Dorg.bytedeco.javacpp.maxphysicalbytes=0");
    for (String property : List.of("java.library.path", "org.bytedeco.javacpp.pathsFirst")) {
      if (System.getProperty(property) != null) {
        command.add("-D" + property + "=" + System.getProperty(property));
      }
    }
    command.add(main.getName());
    command.addAll(arguments);
    ProcessBuilder builder = new ProcessBuilder(command).directory(folder.toFile());
    builder.environment().put("CLASSPATH", classPath());
    builder.redirectErrorStream(true);
    builder.redirectOutput(ProcessBuilder.Redirect.appendTo(log.toFile()));
    return builder;
  }

  /** Also where a launcher's own class loader has the tests, as with {@code junit-console -cp}. */
  private static String classPath() {
    List<String> entries = new ArrayList<>();
    if (RanksGpuTest.class.getClassLoader() instanceof URLClassLoader loader) {
      for (URL url : loader.getURLs()) {
        entries.add(Path.of(URI.create(url.toString())).toString());
      }
    }
    entries.add(System.getProperty("java.class.path"));
    return String.join(File.pathSeparator, entries);
  }

  private static ProcessBuilder train(String output, int steps, String... more) {
    List<String> arguments =
        new ArrayList<>(
            List.of("--device", "cuda", "--output", output, "--steps", String.valueOf(steps)));
    if (!List.of(more).contains("--config")) {
      arguments.addAll(List.of("--config", "tiny.json", "--data", "data", "--max-tokens", "40"));
    }
    arguments.addAll(List.of("--lr", "1e-3", "--log-every", "1", "--sample-every", "0"));
    arguments.addAll(List.of(more));
    return java(Train.class, log(output), arguments);
  }

  private static Path log(String output) {
    return folder.resolve(output + ".log");
  }

  private static String read(String output) {
    try {
      return Files.readString(log(output));
    } catch (IOException e) {
      return e.toString();
    }
  }

  private static void done(Process process, String output) throws InterruptedException {
    assertTrue(process.waitFor(3, TimeUnit.MINUTES), () -> "did not end: " + read(output));
    assertEquals(Cli.DONE, process.exitValue(), () -> read(output));
  }

  private static void run(String output, int steps, String... more)
      throws IOException, InterruptedException {
    done(train(output, steps, more).start(), output);
  }

  private static double[] column(String output, String name) throws IOException {
    return rows(output).stream().mapToDouble(row -> row.get(name).asDouble()).toArray();
  }

  private static List<JsonNode> rows(String output) throws IOException {
    List<JsonNode> rows = new ArrayList<>();
    for (String line : Files.readAllLines(folder.resolve(output).resolve("metrics.jsonl"))) {
      rows.add(new ObjectMapper().readTree(line));
    }
    return rows;
  }

  /** Compares losses and gradient norms of every step, and the last weights and moments. */
  private static void assertAlike(String expected, String found, Bounds bounds) throws IOException {
    double loss = worst(expected, found, "loss");
    double norm = worst(expected, found, "grad_norm");
    double weights = difference(expected, found, LAST);
    double moments = difference(expected, found, LAST.replace("model", "optimizer"));
    System.out.printf(
        Locale.ROOT,
        "%s and %s: losses differ by at most %.1e, gradient norms by %.1e; after %d steps weights by"
            + " %.1e, moments by %.1e%n",
        expected,
        found,
        loss,
        norm,
        STEPS,
        weights,
        moments);
    assertTrue(loss < bounds.losses, "losses: " + loss);
    assertTrue(norm < 5 * bounds.losses, "gradient norms: " + norm);
    assertTrue(weights < bounds.weights, "weights: " + weights);
  }

  private static double worst(String expected, String found, String name) throws IOException {
    double[] a = column(expected, name);
    double[] b = column(found, name);
    assertEquals(a.length, b.length, "rows of metrics");
    double worst = 0;
    for (int i = 0; i < a.length; i++) {
      worst = Math.max(worst, Math.abs(a[i] - b[i]) / Math.abs(a[i]));
    }
    return worst;
  }

  /** The relative error of all tensors of a file together. */
  private static double difference(String expected, String found, String file) throws IOException {
    try (TensorSource one = SafetensorsFile.open(folder.resolve(expected).resolve(file));
        TensorSource other = SafetensorsFile.open(folder.resolve(found).resolve(file))) {
      double squares = 0;
      double all = 0;
      for (String name : one.specs().keySet()) {
        if (name.equals("step")) {
          continue;
        }
        float[] x = one.tensor(name).toFloats();
        float[] y = other.tensor(name).toFloats();
        for (int i = 0; i < x.length; i++) {
          squares += Math.pow((double) x[i] - y[i], 2);
          all += (double) x[i] * x[i];
        }
      }
      return Math.sqrt(squares / all);
    }
  }

  private static final String LAST =
      String.format(Locale.ROOT, "checkpoints/step-%07d/model.safetensors", STEPS);

  @ParameterizedTest
  @ValueSource(strings = {"reference", "fused"})
  void oneGpuResumesFromACheckpointThatWasWrittenBesideTheSteps(String step)
      throws IOException, InterruptedException {
    String unbroken = step + "-unbroken";
    String broken = step + "-broken";
    run(unbroken, STEPS, "--step", step);
    run(broken, STEPS, "--step", step, "--checkpoint-every", "10");
    Files.move(folder.resolve(broken), folder.resolve(broken + "-before"));
    Path half = folder.resolve(broken + "-before/checkpoints/step-0000010");
    run(broken, STEPS, "--step", step, "--resume", half.toString());
    JsonNode last = rows(unbroken).get(STEPS - 1);
    System.out.println(step + " on one GPU, last row: " + last);
    double weights = difference(unbroken, broken, LAST);
    System.out.printf(Locale.ROOT, "%s, resumed at 10: weights differ by %.1e%n", step, weights);
    assertTrue(weights < Bounds.of(step).weights);
    assertTrue(last.get("data_wait").asDouble() >= 0);
  }

  @Test
  void moreProcessesThanGpusAreBadUsage() throws IOException, InterruptedException {
    ProcessBuilder builder = train("toomany", 1, "--nproc", "2");
    builder.environment().put("CUDA_VISIBLE_DEVICES", "0");
    Process process = builder.start();
    assertTrue(process.waitFor(1, TimeUnit.MINUTES));
    assertEquals(Cli.BAD_USAGE, process.exitValue(), () -> read("toomany"));
    assertTrue(
        read("toomany").contains("--nproc: expected at most 1, as each process takes a GPU"),
        () -> read("toomany"));
  }

  @Test
  void hiddenGpusAreNamed() throws IOException, InterruptedException {
    ProcessBuilder builder = train("hidden", 1);
    builder.environment().put("CUDA_VISIBLE_DEVICES", "");
    Process process = builder.start();
    assertTrue(process.waitFor(1, TimeUnit.MINUTES));
    System.out.println("hidden GPUs: " + read("hidden").strip());
    assertEquals(Cli.BAD_USAGE, process.exitValue(), () -> read("hidden"));
    assertTrue(read("hidden").contains("--device cpu"), () -> read("hidden"));
  }

  private static List<Process> work(
      String name, int world, Map<String, String> more, String... arguments) throws IOException {
    int port = LocalRanks.freePort();
    List<Process> ranks = new ArrayList<>();
    for (int rank = 0; rank < world; rank++) {
      ProcessBuilder builder = java(NcclWork.class, log(name + rank), List.of(arguments));
      Map<String, String> environment = builder.environment();
      environment.put("RANK", String.valueOf(rank));
      environment.put("LOCAL_RANK", String.valueOf(rank));
      environment.put("WORLD_SIZE", String.valueOf(world));
      environment.put("MASTER_ADDR", "127.0.0.1");
      environment.put("MASTER_PORT", String.valueOf(port));
      environment.putAll(more);
      ranks.add(builder.start());
    }
    return ranks;
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2})
  void everyCollectiveIsRightOverNccl(int world) throws IOException, InterruptedException {
    if (world > 1) {
      needsTwo("everyCollectiveIsRightOverNccl");
    }
    String name = "collectives-of-" + world + "-rank-";
    List<Process> ranks = work(name, world, Map.of());
    for (int rank = 0; rank < world; rank++) {
      String log = name + rank;
      assertTrue(ranks.get(rank).waitFor(2, TimeUnit.MINUTES), () -> "did not end: " + read(log));
      System.out.println(read(log).strip());
      assertEquals(0, ranks.get(rank).exitValue(), () -> read(log));
    }
  }

  @Test
  void twoRanksOnOneGpuAreRefusedAndBothEnd() throws IOException, InterruptedException {
    List<Process> ranks = work("crowded", 2, Map.of("CUDA_VISIBLE_DEVICES", "0"));
    for (int rank = 0; rank < 2; rank++) {
      String log = "crowded" + rank;
      boolean ended = ranks.get(rank).waitFor(2, TimeUnit.MINUTES);
      ranks.get(rank).destroyForcibly().waitFor();
      System.out.println("two ranks on one GPU: " + read(log).strip());
      assertTrue(ended, () -> "did not end: " + read(log));
      assertEquals(1, ranks.get(rank).exitValue(), () -> read(log));
    }
  }

  @Test
  void aRankThatWaitsOnTheGpuForADeadOneEndsWithinAMinute()
      throws IOException, InterruptedException {
    needsTwo("aRankThatWaitsOnTheGpuForADeadOneEndsWithinAMinute");
    List<Process> ranks = work("dead", 2, Map.of(), "die");
    assertTrue(ranks.get(1).waitFor(2, TimeUnit.MINUTES), () -> read("dead1"));
    long start = System.nanoTime();
    boolean ended = ranks.get(0).waitFor(1, TimeUnit.MINUTES);
    double seconds = (System.nanoTime() - start) / 1e9;
    ranks.get(0).destroyForcibly().waitFor();
    System.out.printf(Locale.ROOT, "a rank died; the other ended after %.1f s%n", seconds);
    System.out.println(read("dead0").strip());
    assertTrue(ended, () -> read("dead0"));
    assertTrue(read("dead0").contains("rank 1 of 2 is gone"), () -> read("dead0"));
    assertEquals(1, ranks.get(0).exitValue());
  }

  @ParameterizedTest
  @ValueSource(strings = {"reference", "fused"})
  void twoGpusReachWhatOneReachesWithTheirPacksShardedOrNot(String step)
      throws IOException, InterruptedException {
    needsTwo("twoGpusReachWhatOneReachesWithTheirPacksShardedOrNot");
    String one = step + "-one";
    String two = step + "-two";
    String sharded = step + "-sharded";
    run(one, STEPS, "--step", step, "--accumulate", "2");
    run(two, STEPS, "--step", step, "--nproc", "2", "--no-shard-optimizer");
    run(
        sharded,
        STEPS,
        "--step",
        step,
        "--nproc",
        "2",
        "--shard-optimizer",
        "--checkpoint-every",
        "10");
    assertAlike(one, two, Bounds.of(step));
    assertAlike(two, sharded, Bounds.of(step));
    // The halves of a sharded run go on in one process, and the other way round.
    Path half = folder.resolve(sharded).resolve("checkpoints/step-0000010");
    String alone = step + "-from-two";
    run(alone, STEPS, "--step", step, "--accumulate", "2", "--resume", half.toString());
    double[] losses = column(one, "loss");
    double[] goneOn = column(alone, "loss");
    assertEquals(STEPS / 2, goneOn.length);
    for (int i = 0; i < goneOn.length; i++) {
      double expected = losses[STEPS / 2 + i];
      assertEquals(expected, goneOn[i], Bounds.of(step).losses * expected);
    }
    String again = step + "-from-one";
    Path whole = folder.resolve(one).resolve(LAST).getParent();
    run(
        again,
        STEPS + 10,
        "--step",
        step,
        "--nproc",
        "2",
        "--shard-optimizer",
        "--resume",
        whole.toString());
    assertEquals(10, column(again, "loss").length);
  }

  @ParameterizedTest
  @ValueSource(ints = {0, 1})
  void aKilledRankEndsTheJobWithinAMinuteAndTheSameCommandGoesOn(int victim)
      throws IOException, InterruptedException {
    needsTwo("aKilledRankEndsTheJobWithinAMinuteAndTheSameCommandGoesOn");
    String output = "killed" + victim;
    String[] more = {"--nproc", "2", "--checkpoint-every", "20"};
    Process launcher = train(output, LONG_STEPS, more).start();
    List<ProcessHandle> ranks = ranksWithACheckpoint(launcher, output);
    long start = System.nanoTime();
    ranks.get(victim).destroyForcibly();
    boolean ended = launcher.waitFor(1, TimeUnit.MINUTES);
    System.out.printf(
        Locale.ROOT,
        "rank %d was killed; the job ended after %.1f s%n",
        victim,
        (System.nanoTime() - start) / 1e9);
    launcher.destroyForcibly();
    assertTrue(ended, () -> read(output));
    assertEquals(Cli.FAILED, launcher.exitValue(), () -> read(output));
    assertTrue(read(output).contains("rank " + victim + " of 2 is gone"), () -> read(output));
    ranks.forEach(rank -> assertFalse(rank.isAlive(), "a rank outlived its peer"));
    long kept = checkpoints(output);
    // The kill may have cut the last row in two.
    int rows = Files.readAllLines(folder.resolve(output).resolve("metrics.jsonl")).size();
    run(output, rows + 60, more);
    assertTrue(kept > 0 && checkpoints(output) > 0);
  }

  @ParameterizedTest
  @CsvSource({"TERM, 143, false", "INT, 130, true"})
  void aSignalToTheLauncherOrToOneRankSavesOnceAndTheSameCommandGoesOn(
      String signal, int code, boolean toARank) throws IOException, InterruptedException {
    needsTwo("aSignalToTheLauncherOrToOneRankSavesOnceAndTheSameCommandGoesOn");
    Signals.requireHeard(signal);
    String output = "signal-" + signal;
    String[] more = {"--nproc", "2", "--checkpoint-every", "20"};
    Process launcher = train(output, LONG_STEPS, more).start();
    List<ProcessHandle> ranks = ranksWithACheckpoint(launcher, output);
    ProcessHandle to = toARank ? ranks.get(1) : launcher.toHandle();
    long start = System.nanoTime();
    assertEquals(0, new ProcessBuilder("kill", "-" + signal, "" + to.pid()).start().waitFor());
    boolean ended = launcher.waitFor(1, TimeUnit.MINUTES);
    System.out.printf(
        Locale.ROOT,
        "SIG%s to %s; the job ended after %.1f s%n",
        signal,
        toARank ? "one rank" : "the launcher",
        (System.nanoTime() - start) / 1e9);
    launcher.destroyForcibly();
    assertTrue(ended, () -> read(output));
    assertEquals(code, launcher.exitValue(), () -> read(output));
    assertEquals(2, read(output).split("stopped at step ").length, () -> read(output));
    ranks.forEach(rank -> assertFalse(rank.isAlive(), "a rank outlived the job"));
    // Every rank stopped after the same step, whose checkpoint is whole: no row is written again.
    int rows = rows(output).size();
    run(output, rows + 60, more);
    assertEquals(rows + 60, rows(output).size());
  }

  /** A job's two ranks, once it has left a checkpoint. */
  private static List<ProcessHandle> ranksWithACheckpoint(Process launcher, String output)
      throws IOException, InterruptedException {
    while (launcher.isAlive() && checkpoints(output) == 0) {
      Thread.sleep(20);
    }
    List<ProcessHandle> ranks = launcher.children().toList();
    assertEquals(2, ranks.size(), () -> read(output));
    return ranks;
  }

  private static long checkpoints(String output) throws IOException {
    Path checkpoints = folder.resolve(output).resolve("checkpoints");
    if (!Files.isDirectory(checkpoints)) {
      return 0;
    }
    try (Stream<Path> entries = Files.list(checkpoints)) {
      return entries.filter(path -> path.getFileName().toString().startsWith("step-")).count();
    }
  }

  @Test
  void aTableOfTokensPerSecond() throws IOException, InterruptedException {
    String[] more = {"--config", "base.json", "--data", "large", "--max-tokens", "8192"};
    List<String[]> rows = new ArrayList<>();
    rows.add(new String[] {"bench1", "1"});
    if (gpus >= 2) {
      rows.add(new String[] {"bench2", "2", "--no-shard-optimizer"});
      rows.add(new String[] {"bench2s", "2", "--shard-optimizer"});
    }
    for (String[] row : rows) {
      List<String> all = new ArrayList<>(List.of(more));
      all.addAll(List.of("--nproc", row[1]));
      all.addAll(List.of(row).subList(2, row.length));
      run(row[0], 30, all.toArray(String[]::new));
      List<JsonNode> metrics = rows(row[0]);
      double sum = 0;
      double wait = 0;
      int counted = 20;
      for (JsonNode each : metrics.subList(metrics.size() - counted, metrics.size())) {
        sum += each.get("tokens_per_second").asDouble() / counted;
        wait += each.get("data_wait").asDouble() / counted;
      }
      System.out.printf(
          Locale.ROOT,
          "%s GPU(s)%s: %.0f tokens/s, data wait %.2f %%%n",
          row[1],
          row.length > 2 ? ", " + row[2] : "",
          sum,
          wait * 100);
    }
  }
}
