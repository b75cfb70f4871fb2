package io.nit.tests.bench;

import static io.nit.tests.bench.Arguments.argument;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.CodecSpec;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.io.FileTree;
import io.nit.core.packing.PackLayout;
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.data.TrainingPack;
import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.Ranks;
import io.nit.trainer.loop.RunFolder;
import io.nit.trainer.loop.StepOptions;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.loop.Trainer;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.Devices;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.LearningRate;
import java.io.IOException;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.function.ToDoubleFunction;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.bytedeco.pytorch.Device;

/**
 * Whole training runs, as nit-train makes them, in 1, 2 or more processes that train together: the
 * loader's threads, draws, step, update and metrics, on packs of random latents. One row for each
 * run: tokens a second and milliseconds a step over the second half of its steps, beside the first
 * row's tokens; the share of the time that a rank waited for data, at most; of every rank, in
 * milliseconds a step, how long its GPU's own work stood still for the sums over ranks, and how
 * long those took from begin to end (a rank that is ahead waits, and its sums take as long as the
 * other one is behind); the most of the GPU's memory that was in tensors in either half of the
 * steps; and how long the end took, which writes a checkpoint and the result.
 *
 * <p>A run is a number of processes, then {@code s} for a sharded optimizer or {@code i} for
 * processes that know nothing of each other, which is what they could reach at most; then {@code
 * :N} for NIT_SUM_CTAS=N, multiprocessors that the sums take and products leave free.
 *
 * <p>Arguments: preset (xl), runs (1,2,2s), steps (60), step (auto, fused, reference), device
 * (cuda), tokens of a pack (16104: the mixed pack; else images of 16x16), folder for the runs,
 * deleted behind (the system's temporary one).
 */
public final class RanksBenchmark {
  private static final Duration MEETING = Duration.ofMinutes(2);

  private RanksBenchmark() {}

  /** How the processes of a run are started. */
  private record Run(String name, int processes, boolean sharded, boolean apart, String ctas) {
    static Run parse(String name) {
      String[] parts = name.split(":", 2);
      return new Run(
          name,
          Integer.parseInt(parts[0].replaceAll("[si]$", "")),
          parts[0].endsWith("s"),
          parts[0].endsWith("i"),
          parts.length > 1 ? parts[1] : "");
    }

    /** Where a process writes. */
    Path folder(Path run, int process) {
      return process == 0 ? run : run.resolve("process-" + process);
    }
  }

  /** What a process found over the second half of its steps; times in milliseconds a step. */
  private record Row(
      double tokensPerSecond,
      double step,
      double dataWait,
      double sumWait,
      double sumBusy,
      double firstGib,
      double gib,
      double end) {
    void write(Path folder) throws IOException {
      Files.writeString(
          folder.resolve("row"),
          String.format(
              Locale.ROOT,
              "%f %f %f %f %f %f %f %f",
              tokensPerSecond,
              step,
              dataWait,
              sumWait,
              sumBusy,
              firstGib,
              gib,
              end));
    }

    static Row read(Path folder) throws IOException {
      double[] v =
          Stream.of(Files.readString(folder.resolve("row")).split(" "))
              .mapToDouble(Double::parseDouble)
              .toArray();
      return new Row(v[0], v[1], v[2], v[3], v[4], v[5], v[6], v[7]);
    }
  }

  /** Runs and prints a table; as a rank, one run. */
  public static void main(String[] args) throws Exception {
    if (System.getenv("RANK") != null) {
      rank(args);
      System.exit(0);
    }
    System.out.printf(
        "%-7s %10s %7s %8s %10s %16s %16s %13s %11s%n",
        "run",
        "tokens/s",
        "times",
        "step, ms",
        "data wait",
        "sums' wait, ms",
        "sums, ms",
        "peak GiB",
        "the end, s");
    double first = 0;
    for (String name : argument(args, 1, "1,2,2s").split(",")) {
      Run run = Run.parse(name);
      Path folder =
          Files.createTempDirectory(
              Path.of(argument(args, 6, System.getProperty("java.io.tmpdir"))), "nit-ranks-");
      try {
        List<Row> rows = start(args, run, folder);
        if (rows.isEmpty()) {
          System.out.println(name + ": failed");
          continue;
        }
        // Ranks that train together count all tokens, each of them.
        double tokens =
            run.apart
                ? rows.stream().mapToDouble(Row::tokensPerSecond).sum()
                : rows.get(0).tokensPerSecond;
        first = first == 0 ? tokens : first;
        System.out.printf(
            Locale.ROOT,
            "%-7s %10.0f %7.3f %8s %9.2f%% %16s %16s %13s %11.1f%n",
            name,
            tokens,
            tokens / first,
            list(run.apart ? rows : rows.subList(0, 1), Row::step),
            100 * most(rows, Row::dataWait),
            list(rows, Row::sumWait),
            list(rows, Row::sumBusy),
            String.format(
                Locale.ROOT, "%.2f, %.2f", most(rows, Row::firstGib), most(rows, Row::gib)),
            rows.get(0).end);
      } finally {
        FileTree.delete(folder);
      }
    }
  }

  private static double most(List<Row> rows, ToDoubleFunction<Row> value) {
    return rows.stream().mapToDouble(value).max().orElseThrow();
  }

  private static String list(List<Row> rows, ToDoubleFunction<Row> value) {
    return rows.stream()
        .map(row -> String.format(Locale.ROOT, "%.1f", value.applyAsDouble(row)))
        .collect(Collectors.joining("/"));
  }

  /** The processes' rows; empty if one failed. */
  private static List<Row> start(String[] args, Run run, Path folder)
      throws IOException, InterruptedException {
    int port;
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    List<Process> processes = new ArrayList<>();
    for (int process = 0; process < run.processes; process++) {
      List<String> command = new ArrayList<>();
      command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
      command.add("-Dorg.bytedeco.javacpp.maxphysicalbytes=0");
      command.add(RanksBenchmark.class.getName());
      for (int i = 0; i < 6; i++) {
        String[] defaults = {"xl", "", "60", "auto", "cuda", "16104"};
        command.add(i == 1 ? run.name : argument(args, i, defaults[i]));
      }
      command.add(Files.createDirectories(run.folder(folder, process)).toString());
      ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
      Map<String, String> environment = builder.environment();
      environment.put("CLASSPATH", System.getProperty("java.class.path"));
      environment.put("RANK", Integer.toString(run.apart ? 0 : process));
      environment.put("LOCAL_RANK", Integer.toString(process));
      environment.put("WORLD_SIZE", Integer.toString(run.apart ? 1 : run.processes));
      environment.put("MASTER_ADDR", "127.0.0.1");
      environment.put("MASTER_PORT", Integer.toString(port));
      if (!run.ctas.isEmpty()) {
        environment.put("NIT_SUM_CTAS", run.ctas);
      }
      processes.add(builder.start());
    }
    boolean good = true;
    for (Process process : processes) {
      good &= process.waitFor() == 0;
    }
    List<Row> rows = new ArrayList<>();
    for (int process = 0; good && process < run.processes; process++) {
      rows.add(Row.read(run.folder(folder, process)));
    }
    return rows;
  }

  private static void rank(String[] args) throws IOException {
    NitConfig config = NitConfig.preset(args[0]);
    boolean sharded = Run.parse(args[1]).sharded;
    long steps = Long.parseLong(args[2]);
    StepOptions how = new StepOptions(StepOptions.Path.parse(args[3]), false);
    Path folder = Path.of(args[6]);
    Ranks ranks = Ranks.of(System.getenv());
    Device device = Devices.choose(args[4], ranks.localRank());
    TrainOptions options =
        new TrainOptions(
            new LearningRate(LearningRate.Schedule.CONSTANT, 5e-5, 0, steps),
            AdamW.Options.STANDARD,
            1,
            0.9999,
            true,
            1,
            0.1,
            0,
            1,
            new FlowMatchingLoss(true, 0),
            1,
            new TrainOptions.Pace(steps, 1, 0, steps / 2, 0));
    try (Collectives group = Collectives.meet(ranks, device, MEETING);
        TrainingData data = new RandomPacks(config, layout(Integer.parseInt(args[5])));
        Trainer trainer =
            new Trainer(
                config, options, data, new RunFolder(folder), device, 2, group, sharded, how);
        MetricsLog metrics = MetricsLog.open(folder, 0)) {
      trainer.run(metrics, Optional.empty(), StopSignal.none(), true);
      long ended = System.currentTimeMillis();
      group.leave();
      List<String> rows = Files.readAllLines(folder.resolve("metrics.jsonl"));
      JsonNode first = new ObjectMapper().readTree(rows.get(0));
      JsonNode last = new ObjectMapper().readTree(rows.get(rows.size() - 1));
      double tokensPerSecond = last.get("tokens_per_second").asDouble();
      int tokens = layout(Integer.parseInt(args[5])).tokens() * ranks.worldSize();
      double step = 1e3 * tokens / tokensPerSecond;
      new Row(
              tokensPerSecond,
              step,
              last.get("data_wait").asDouble(),
              step * last.path("sum_wait").asDouble(),
              step * last.path("sum_busy").asDouble(),
              first.path("memory_gib").asDouble(),
              last.path("memory_gib").asDouble(),
              ended / 1e3 - last.get("time").asDouble())
          .write(folder);
    }
  }

  private static PackLayout layout(int tokens) {
    return tokens == 16104
        ? TrainBenchmark.mixed()
        : TrainBenchmark.repeated(new int[][] {{Math.max(1, tokens / 256), 16, 16}});
  }

  /** Packs of one layout and of latents that were drawn once; every load copies them. */
  private static final class RandomPacks implements TrainingData {
    private static final int PACKS = 1000;

    private final NitConfig config;
    private final PackLayout layout;
    private final float[] latents;

    RandomPacks(NitConfig config, PackLayout layout) {
      this.config = config;
      this.layout = layout;
      int p = config.patchSize();
      double[] normals = new Philox(1, 1).normals(layout.tokens() * config.inChannels() * p * p);
      latents = new float[normals.length];
      for (int i = 0; i < latents.length; i++) {
        latents[i] = (float) normals[i];
      }
    }

    @Override
    public int packs() {
      return PACKS;
    }

    @Override
    public int images() {
      return PACKS * layout.images();
    }

    @Override
    public int channels() {
      return config.inChannels();
    }

    @Override
    public int featureDim() {
      return 0;
    }

    @Override
    public TrainingPack load(int pack, Philox choice) {
      long[] labels = new long[layout.images()];
      int[] rows = new int[layout.images()];
      for (int i = 0; i < rows.length; i++) {
        labels[i] = (pack + i) % config.numClasses();
        rows[i] = pack * layout.images() + i;
      }
      return new TrainingPack(layout, latents.clone(), labels, Optional.empty(), rows);
    }

    @Override
    public Optional<CodecSpec> codec() {
      return Optional.empty();
    }

    @Override
    public List<String> labels() {
      return List.of();
    }

    @Override
    public int classes() {
      return config.numClasses();
    }

    @Override
    public void close() {}
  }
}
