package io.nit.tests.bench;

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
import io.nit.trainer.model.GpuMemory;
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
import org.bytedeco.pytorch.Device;

/**
 * Whole training runs, as nit-train makes them, in 1, 2 or more processes that train together: the
 * loader's threads, draws, step, update and metrics, on packs of random latents. One row for each
 * run: tokens a second over the second half of its steps, beside those of the first row; the share
 * of the time that rank 0 waited for data; its GPU's memory; and how long the end took, which
 * writes a checkpoint and the result.
 *
 * <p>Arguments: preset (xl), runs (1,2,2s: processes, s with a sharded optimizer), steps (60), step
 * (auto, fused, reference), device (cuda), tokens of a pack (16104: the mixed pack; else images of
 * 16x16), folder for the runs, deleted behind (the system's temporary one).
 */
public final class RanksBenchmark {
  private static final Duration MEETING = Duration.ofMinutes(2);

  private RanksBenchmark() {}

  /** Runs and prints a table; as a rank, one run. */
  public static void main(String[] args) throws Exception {
    if (System.getenv("RANK") != null) {
      rank(args);
      System.exit(0);
    }
    System.out.printf(
        "%-6s %10s %7s %10s %10s %12s%n",
        "run", "tokens/s", "times", "data wait", "peak GiB", "the end, s");
    double first = 0;
    for (String run : argument(args, 1, "1,2,2s").split(",")) {
      Path folder =
          Files.createTempDirectory(
              Path.of(argument(args, 6, System.getProperty("java.io.tmpdir"))), "nit-ranks-");
      try {
        Optional<double[]> row = start(args, run, folder);
        if (row.isEmpty()) {
          System.out.println(run + ": failed");
          continue;
        }
        double[] numbers = row.get();
        first = first == 0 ? numbers[0] : first;
        System.out.printf(
            Locale.ROOT,
            "%-6s %10.0f %7.2f %9.2f%% %10.2f %12.1f%n",
            run,
            numbers[0],
            numbers[0] / first,
            100 * numbers[1],
            numbers[2],
            numbers[3]);
      } finally {
        FileTree.delete(folder);
      }
    }
  }

  private static String argument(String[] args, int index, String otherwise) {
    return args.length > index ? args[index] : otherwise;
  }

  /** The row of a run; empty if a rank failed. */
  private static Optional<double[]> start(String[] args, String run, Path folder)
      throws IOException, InterruptedException {
    int world = Integer.parseInt(run.replace("s", ""));
    int port;
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    List<Process> ranks = new ArrayList<>();
    for (int rank = 0; rank < world; rank++) {
      List<String> command = new ArrayList<>();
      command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
      command.add("-Dorg.bytedeco.javacpp.maxphysicalbytes=0");
      command.add(RanksBenchmark.class.getName());
      for (int i = 0; i < 6; i++) {
        String[] defaults = {"xl", "", "60", "auto", "cuda", "16104"};
        command.add(i == 1 ? run : argument(args, i, defaults[i]));
      }
      command.add(folder.toString());
      ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
      Map<String, String> environment = builder.environment();
      environment.put("CLASSPATH", System.getProperty("java.class.path"));
      environment.put("RANK", Integer.toString(rank));
      environment.put("LOCAL_RANK", Integer.toString(rank));
      environment.put("WORLD_SIZE", Integer.toString(world));
      environment.put("MASTER_ADDR", "127.0.0.1");
      environment.put("MASTER_PORT", Integer.toString(port));
      ranks.add(builder.start());
    }
    boolean good = true;
    for (Process rank : ranks) {
      good &= rank.waitFor() == 0;
    }
    if (!good) {
      return Optional.empty();
    }
    String[] words = Files.readString(folder.resolve("row")).split(" ");
    double[] row = new double[words.length];
    for (int i = 0; i < row.length; i++) {
      row[i] = Double.parseDouble(words[i]);
    }
    return Optional.of(row);
  }

  private static void rank(String[] args) throws IOException {
    NitConfig config = NitConfig.preset(args[0]);
    boolean sharded = args[1].endsWith("s");
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
        MetricsLog metrics = ranks.leads() ? MetricsLog.open(folder, 0) : MetricsLog.none()) {
      trainer.run(metrics, Optional.empty(), StopSignal.none(), true);
      long ended = System.currentTimeMillis();
      group.leave();
      if (ranks.leads()) {
        List<String> rows = Files.readAllLines(folder.resolve("metrics.jsonl"));
        JsonNode last = new ObjectMapper().readTree(rows.get(rows.size() - 1));
        String row =
            String.format(
                Locale.ROOT,
                "%f %f %f %f",
                last.get("tokens_per_second").asDouble(),
                last.get("data_wait").asDouble(),
                device.is_cuda() ? GpuMemory.peak() / 0x1p30 : 0,
                ended / 1e3 - last.get("time").asDouble());
        Files.writeString(folder.resolve("row"), row);
      }
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
