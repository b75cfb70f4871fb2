package io.nit.trainer.loop;

import io.nit.core.cli.StopSignal;
import io.nit.core.config.NitConfig;
import io.nit.core.image.RgbImage;
import io.nit.core.rope.Rope2d;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.checkpoint.CheckpointStore;
import io.nit.trainer.checkpoint.CheckpointWriter;
import io.nit.trainer.checkpoint.ModelFile;
import io.nit.trainer.checkpoint.Snapshot;
import io.nit.trainer.checkpoint.TrainingState;
import io.nit.trainer.data.PackOrder;
import io.nit.trainer.data.PrefetchingLoader;
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.data.TrainingPack;
import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.Partition;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.Devices;
import io.nit.trainer.model.GpuMemory;
import io.nit.trainer.model.Initializer;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.TrainingCost;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.FlatParameters;
import io.nit.trainer.optim.GradNorm;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Trains one model on one device. A step takes {@code accumulate} packs of every process that
 * trains along, and every pack's loss counts by its share of all their tokens, so that the gradient
 * is that of one pack with all of their images, and the same in every process. A step whose loss or
 * gradient is not finite changes nothing and is counted; ten in a row end the run.
 *
 * <p>Owns model, average and optimizer until {@link #close}, which may be called twice.
 */
public final class Trainer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Trainer.class);
  private static final int PACKS_AHEAD = 2;
  private static final int LOADERS_OF_A_GPU = 3;

  private final TrainOptions options;
  private final TrainingData data;
  private final RunFolder folder;
  private final Draws draws;
  private final CheckpointWriter checkpoints;
  private final ModelFile description;
  private final Rope2d rope = new Rope2d();
  private final NitModel model;
  private final NitModel average;
  private final FlatParameters weights;
  private final Ema ema;
  private final Partition parts;
  private final boolean sharded; // whether the optimizer is of this rank's part alone
  private final AdamW optimizer;
  private final Optional<FusedStep> fused;
  private final Workers workers;
  private Optional<Checkpoint> restored = Optional.empty();
  private long step;
  private long taken; // packs of all processes together
  private long index; // this process' next pack in its own part of the order
  private final Collectives collectives;
  private final Throughput throughput = new Throughput();
  private final SkippedSteps skipped = new SkippedSteps("rows");
  private final Opened opened = new Opened();
  private boolean closed;

  /**
   * A training at its start, weights drawn from the seed.
   *
   * @param config the network; its channels and classes fit the data
   * @param data stays the caller's
   * @param threads shards of a pack that are computed side by side, on the CPU; a GPU takes packs
   *     whole
   */
  public Trainer(
      NitConfig config,
      TrainOptions options,
      TrainingData data,
      RunFolder folder,
      Device device,
      int threads) {
    this(
        config,
        options,
        data,
        folder,
        device,
        threads,
        Collectives.alone(),
        false,
        StepOptions.AUTO);
  }

  /**
   * One of several processes that train the same model.
   *
   * @param collectives the processes; stays the caller's
   * @param shardOptimizer whether each process keeps the optimizer's moments of its part of the
   *     parameters only, and changes that part for all
   * @param how which code computes the steps
   */
  public Trainer(
      NitConfig config,
      TrainOptions options,
      TrainingData data,
      RunFolder folder,
      Device device,
      int threads,
      Collectives collectives,
      boolean shardOptimizer,
      StepOptions how) {
    if (options.labelDropout() > 0 && !config.hasNullClass()) {
      throw new IllegalArgumentException(
          "--label-dropout: expected 0 for a config with class_dropout_prob 0 (no null class), found "
              + options.labelDropout());
    }
    boolean align = options.loss().projCoeff() > 0;
    if (align && data.featureDim() != config.zDim()) {
      throw new IllegalArgumentException(
          "--proj-coeff above 0: expected features of width z_dim = "
              + config.zDim()
              + " in the data set, found "
              + data.featureDim());
    }
    this.options = options;
    this.data = data;
    this.folder = folder;
    this.collectives = collectives;
    draws = new Draws(options.seed());
    description = new ModelFile(config.toNode(), data.codec(), data.labels());
    AttentionPath path = AttentionPath.forDevice(device);
    try {
      model = opened.add(new NitModel(config, align, device, path));
      average = opened.add(new NitModel(config, align, device, path));
      weights = opened.add(new FlatParameters(model.parameters(), true));
      Initializer.initialize(model, options.seed());
      ema = new Ema(average);
      ema.copyFrom(model);
      parts = new Partition(weights.values().numel(), world());
      sharded = shardOptimizer && world() > 1;
      int rank = collectives.ranks().rank();
      optimizer =
          opened.add(
              sharded
                  ? new AdamW(weights, options.adamW(), parts.from(rank), parts.to(rank))
                  : new AdamW(weights, options.adamW()));
      fused = FusedStep.choose(how, model, average, weights, optimizer, options, collectives);
      fused.ifPresent(opened::add);
      TrainOptions.Pace pace = options.pace();
      checkpoints =
          new CheckpointWriter(
              new CheckpointStore(folder.checkpoints(), pace.keep(), pace.milestoneEvery()),
              description,
              new Snapshot(new Checkpoint.Trained(model, ema, optimizer), collectives),
              collectives.ranks().leads());
    } catch (RuntimeException e) {
      opened.close();
      throw e;
    }
    Devices.setThreads(1);
    workers = new Workers(device.is_cuda() ? 1 : threads);
  }

  /**
   * Goes on from a checkpoint.
   *
   * @throws IllegalArgumentException if it is of another config or does not fit
   */
  public void resume(Checkpoint checkpoint) throws IOException {
    TrainingState state = checkpoint.state();
    state.requireConfig(model.config().toNode(), checkpoint.folder());
    List<String> changed = state.optionDifferences(options.toNode());
    if (!changed.isEmpty()) {
      LOG.warn(
          "going on with other options than {}: {}",
          checkpoint.folder(),
          String.join("; ", changed));
    }
    if (state.packs() != data.packs()) {
      LOG.warn(
          "going on with other data than {}: expected {} packs, found {}",
          checkpoint.folder(),
          data.packs(),
          state.packs());
    }
    checkpoint.restore(new Checkpoint.Trained(model, ema, optimizer));
    restored = Optional.of(checkpoint);
    step = state.step();
    taken = state.position();
    long usual = step * options.accumulate() * world();
    if (taken != usual) {
      LOG.warn(
          "going on with another number of processes or --accumulate than {}: expected {} packs taken"
              + " at step {}, found {}; the data order goes on from there",
          checkpoint.folder(),
          usual,
          step,
          taken);
    }
    LOG.info("resumed at step {} from {}", step, checkpoint.folder());
  }

  private int world() {
    return collectives.ranks().worldSize();
  }

  /** Gives every process what rank 0 has: weights, average, optimizer, and where the run stands. */
  private void shareState() throws IOException {
    if (world() == 1) {
      return;
    }
    boolean leads = collectives.ranks().leads();
    double[] place =
        leads
            ? new double[] {step, taken, optimizer.steps(), restored.isPresent() ? 1 : 0}
            : new double[4];
    collectives.sum(place);
    step = (long) place[0];
    taken = (long) place[1];
    optimizer.restoreSteps((long) place[2]);
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      collectives.from(0, List.of(weights.values()));
      collectives.from(0, average.parameters().values());
      AdamW.Part own = optimizer.part().orElseThrow();
      if (own.whole()) {
        collectives.from(0, List.of(own.expAvg(), own.expAvgSq()));
      } else if (place[3] > 0) {
        Checkpoint.restoreParts(restored, own, collectives);
      }
    }
  }

  /** Steps taken. */
  public long step() {
    return step;
  }

  /** How fast the last steps were. */
  public Throughput throughput() {
    return throughput;
  }

  /** The weights that are trained; owned by this trainer. */
  public NitModel model() {
    return model;
  }

  /** Their moving average; owned by this trainer. */
  public NitModel average() {
    return average;
  }

  /**
   * Takes steps until they are done, the time is up or a stop is asked for; then writes a
   * checkpoint and, unless stopped, the result.
   *
   * @param grid sample grids to draw on the way, if any
   * @throws TrainingFailedException after ten steps in a row that were not finite
   */
  public TrainingLoop.Outcome run(
      MetricsLog metrics, Optional<SampleGrid> grid, StopSignal stop, boolean quiet)
      throws IOException {
    shareState();
    if (sharded) {
      collectives.prepareGathers();
    }
    fused.ifPresent(FusedStep::refresh);
    int rank = collectives.ranks().rank();
    PackOrder order = new PackOrder(data.packs(), options.seed(), rank, world());
    // Where another number of processes stopped between two rounds, the round is taken anew.
    index = taken / world();
    boolean cuda = model.device().is_cuda();
    try (PrefetchingLoader<StepPack> loader =
        new PrefetchingLoader<>(
            data,
            order,
            index,
            at -> draws.mirror(place(at)),
            (pack, at) -> prepare(pack, place(at)),
            cuda ? LOADERS_OF_A_GPU : 1,
            cuda ? LOADERS_OF_A_GPU + PACKS_AHEAD : PACKS_AHEAD)) {
      return new TrainingLoop(options.learningRate(), options.pace())
          .run(new Run(loader, grid), metrics, stop, quiet);
    }
  }

  /** The place in the order of all processes together. */
  private long place(long ownIndex) {
    return ownIndex * world() + collectives.ranks().rank();
  }

  /** One run as the loop sees it. */
  private final class Run implements TrainingLoop.Training {
    private final PrefetchingLoader<StepPack> loader;
    private final Optional<SampleGrid> grid;
    private final Meter meter = new Meter(gpu());

    Run(PrefetchingLoader<StepPack> loader, Optional<SampleGrid> grid) {
      this.loader = loader;
      this.grid = grid;
    }

    @Override
    public long step() {
      return step;
    }

    @Override
    public int agree(int wish) throws IOException {
      if (world() == 1) {
        return wish;
      }
      double[] counts = new double[TrainingLoop.WISHES];
      counts[wish] = 1;
      collectives.sum(counts);
      int strongest = counts.length - 1;
      while (counts[strongest] == 0) {
        strongest--;
      }
      return strongest;
    }

    @Override
    public void take(double rate) throws IOException {
      checkpoints.report();
      List<StepPack> packs = new ArrayList<>();
      try {
        for (int micro = 0; micro < options.accumulate(); micro++) {
          packs.add(loader.next());
        }
        Optional<StepResult> result = Trainer.this.step(packs, rate);
        result.ifPresent(this::count);
        settle(false);
      } catch (RuntimeException e) {
        throw explained(e, packs);
      } finally {
        packs.forEach(StepPack::close);
      }
      meter.waited(loader.takeWaited());
      collectives.takeTimes().ifPresent(meter::summed);
      for (StepPack pack : packs) {
        meter.computed(
            TrainingCost.flops(model.config(), pack.shard().layout(), model.hasProjector()));
      }
    }

    private void count(StepResult result) {
      throughput.add(result.tokens());
      meter.add(result);
    }

    /** Takes up the numbers of fused steps that are through; of all of them, if it is to wait. */
    private void settle(boolean all) {
      if (fused.isEmpty()) {
        return;
      }
      for (FusedStep.Done done : fused.get().done(all)) {
        count(done.result());
        judge(done.step(), done.result(), done.rows());
      }
    }

    @Override
    public TrainingLoop.Report report(double rate) {
      if (meter.isEmpty()) {
        settle(true);
      }
      String note = meter.note(rate);
      double epoch = taken / (double) data.packs();
      return new TrainingLoop.Report(meter.take(rate, skipped.total(), epoch), note);
    }

    @Override
    public boolean hasSamples() {
      return grid.isPresent() && collectives.ranks().leads();
    }

    @Override
    public void sample(MetricsLog metrics) throws IOException {
      RgbImage sheet = grid.orElseThrow().draw(average, data.labels());
      folder.writeSamples(step, sheet, metrics);
    }

    @Override
    public void save() throws IOException {
      settle(true);
      checkpoints.save(
          new TrainingState(
              step,
              optimizer.steps(),
              options.seed(),
              taken,
              data.packs(),
              model.config().toNode(),
              options.toNode()));
    }

    @Override
    public void awaitSaved() throws IOException {
      checkpoints.finish();
    }

    @Override
    public void finish() throws IOException {
      if (!collectives.ranks().leads()) {
        return;
      }
      description.write(folder.model(), average.parameters(), step);
      LOG.info("the averaged weights of step {}: {}", step, folder.model());
    }
  }

  /** One step's numbers. */
  record StepResult(
      double loss, double flow, Optional<Double> projection, double gradNorm, long tokens) {
    boolean finite() {
      return Double.isFinite(loss) && Double.isFinite(gradNorm);
    }
  }

  /** Takes a step; its numbers, unless they come later by {@link FusedStep#done}. */
  private Optional<StepResult> step(List<StepPack> packs, double rate) throws IOException {
    double[] counted = {packs.stream().mapToLong(pack -> pack.shard().layout().tokens()).sum()};
    collectives.sum(counted);
    long tokens = (long) counted[0];
    if (fused.isPresent()) {
      fused.get().take(step + 1, packs, tokens, rate);
      index += packs.size();
      taken = index * world();
      step++;
      return Optional.empty();
    }
    return Optional.of(reference(packs, tokens, rate));
  }

  private StepResult reference(List<StepPack> packs, long tokens, double rate) throws IOException {
    try (PointerScope scope = new PointerScope()) {
      weights.values().grad().zero_();
    }
    List<Callable<double[]>> tasks = new ArrayList<>();
    for (StepPack pack : packs) {
      double share = pack.shard().layout().tokens() / (double) tokens;
      if (pack.ahead().isPresent()) {
        tasks.add(() -> backward(pack.ahead().get().inputs(), share));
        continue;
      }
      for (Shard shard : pack.shard().cut(workers.count())) {
        double part = shard.layout().tokens() / (double) tokens;
        tasks.add(() -> backward(shard, part));
      }
    }
    double[] sums = new double[3];
    for (double[] terms : workers.run(tasks)) {
      for (int i = 0; i < sums.length; i++) {
        sums[i] += terms[i];
      }
    }
    index += packs.size();
    taken = index * world();
    if (world() > 1) {
      collectives.sum(sums);
      sumGradients();
    }
    StepResult result =
        new StepResult(
            sums[0],
            sums[1],
            model.hasProjector() ? Optional.of(sums[2]) : Optional.empty(),
            GradNorm.of(model.parameters()),
            tokens);
    step++;
    if (!judge(step, result, packs.stream().map(StepPack::rows).toList())) {
      return result;
    }
    if (options.clip() > 0) {
      GradNorm.clip(model.parameters(), result.gradNorm(), options.clip());
    }
    optimizer.step(rate);
    if (sharded) {
      collectives.gather(weights.values(), parts);
    }
    ema.update(model, options.emaDecay(step));
    return result;
  }

  /** Every process' gradients become the sum of all. */
  private void sumGradients() throws IOException {
    try (PointerScope scope = new PointerScope()) {
      collectives.sum(List.of(weights.values().grad()));
    }
  }

  /** Makes a pack ready for its step; on the loader's threads. */
  private StepPack prepare(TrainingPack pack, long place) {
    Shard shard = draw(pack, place);
    Device device = model.device();
    return new StepPack(
        pack.rows(),
        shard,
        device.is_cuda()
            ? Optional.of(
                new StepInputs.Ahead(shard, model.config(), rope, device, fused.isPresent()))
            : Optional.empty());
  }

  private Shard draw(TrainingPack pack, long place) {
    int classes = model.config().numClasses();
    for (int i = 0; i < pack.labels().length; i++) {
      if (pack.labels()[i] < 0 || pack.labels()[i] >= classes) {
        throw new IllegalArgumentException(
            "label of data row "
                + pack.rows()[i]
                + ": expected 0.."
                + (classes - 1)
                + ", found "
                + pack.labels()[i]);
      }
    }
    return Shard.of(
        pack,
        draws.noise(place, pack.latents().length),
        draws.times(place, pack.layout().images(), options.timeMean(), options.timeStd()),
        draws.dropLabels(place, pack.labels(), options.labelDropout(), classes));
  }

  private double[] backward(Shard shard, double share) {
    try (PointerScope scope = new PointerScope()) {
      return backward(StepInputs.of(shard, model.config(), rope, model.device(), false), share);
    }
  }

  /** Adds a shard's share of the step's gradient; its share of total, flow and REPA loss. */
  private double[] backward(StepInputs inputs, double share) {
    try (PointerScope scope = new PointerScope()) {
      FlowMatchingLoss.Terms terms =
          options.loss().compute(model, inputs.batch(), inputs.index().orElseThrow());
      terms.total().mul(new Scalar(share)).backward();
      return new double[] {
        share * terms.total().item_double(),
        share * terms.flow().item_double(),
        terms.projection().map(z -> share * z.item_double()).orElse(0.0)
      };
    }
  }

  /** Counts a step as taken or skipped; whether it is to be taken. */
  private boolean judge(long number, StepResult result, List<int[]> rows) {
    if (result.finite()) {
      skipped.taken();
      return true;
    }
    String of = String.join(", ", rows.stream().map(Arrays::toString).toList());
    skipped.skipped(number, result.loss(), result.gradNorm(), of);
    return false;
  }

  private Optional<Meter.Gpu> gpu() {
    if (!model.device().is_cuda()) {
      return Optional.empty();
    }
    return Optional.of(
        new Meter.Gpu(
            TrainingCost.peak(GpuMemory.deviceName()),
            () -> {
              long most = GpuMemory.peak();
              GpuMemory.resetPeak();
              return most;
            }));
  }

  /** A failed allocation of the GPU's memory with what helps against it; others as they are. */
  private RuntimeException explained(RuntimeException e, List<StepPack> packs) {
    if (!model.device().is_cuda() || !String.valueOf(e.getMessage()).contains("out of memory")) {
      return e;
    }
    String sizes =
        String.join(", ", packs.stream().map(pack -> pack.shard().layout().toString()).toList());
    TrainingFailedException failed =
        new TrainingFailedException(
            String.format(
                Locale.ROOT,
                "step %d: the GPU's memory is used up by packs of %s: %.1f GiB in tensors at most, of"
                    + " %.1f GiB (%s). Lower --max-tokens (and raise --accumulate), or give%s"
                    + " --activation-checkpointing%s",
                step + 1,
                sizes,
                GpuMemory.peak() / 0x1p30,
                GpuMemory.total() / 0x1p30,
                GpuMemory.deviceName(),
                fused.isPresent() ? "" : " --step fused and",
                world() > 1 && !sharded ? " or --shard-optimizer" : ""));
    failed.initCause(e);
    return failed;
  }

  /** Frees model, average and optimizer. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      checkpoints.close();
      workers.close();
      opened.close();
    }
  }
}
