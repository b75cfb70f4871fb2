package io.nit.trainer.reconstruction;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.StopSignal;
import io.nit.core.config.DcAeConfig;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.trainer.autoencoder.DcAe;
import io.nit.trainer.autoencoder.DcAeInitializer;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.checkpoint.CheckpointStore;
import io.nit.trainer.checkpoint.CheckpointWriter;
import io.nit.trainer.checkpoint.ModelFile;
import io.nit.trainer.checkpoint.Snapshot;
import io.nit.trainer.checkpoint.TrainingState;
import io.nit.trainer.data.PictureSet;
import io.nit.trainer.data.Prefetcher;
import io.nit.trainer.loop.Opened;
import io.nit.trainer.loop.RunFolder;
import io.nit.trainer.loop.SkippedSteps;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.loop.TrainingFailedException;
import io.nit.trainer.loop.TrainingLoop;
import io.nit.trainer.loop.Workers;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.Devices;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.FlatParameters;
import java.io.IOException;
import java.math.BigDecimal;
import java.math.MathContext;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import java.util.concurrent.Callable;
import java.util.stream.IntStream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Trains one autoencoder on one device to give pictures back. A step whose loss or gradient is not
 * finite changes nothing and is counted; ten in a row end the run.
 *
 * <p>A step never waits for the device: whether it is finite is decided there, and its numbers are
 * read back when a row of metrics is due. So ten steps that were not finite are noticed then, up to
 * a row late; they have changed nothing.
 *
 * <p>Owns model, average and optimizer until {@link #close}, which may be called twice.
 */
public final class ReconstructionTrainer implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(ReconstructionTrainer.class);
  private static final int NORM = ReconstructionLoss.TERMS;
  private static final int GOOD = NORM + 1;
  private static final int NUMBERS = GOOD + 1;
  private static final int MOST_UNREAD = 256;
  private static final int SCALED_BY = 32;
  private static final int SCALE_DIGITS = 6;
  private static final double CLIP_EPS = 1e-6;

  private final ReconstructionOptions options;
  private final PictureSet set;
  private final HoldOut split;
  private final RunFolder folder;
  private final int loaders;
  private final CheckpointWriter checkpoints;
  private final Validation validation;
  private final DcAe model;
  private final DcAe average;
  private final FlatParameters weights;
  private final FlatParameters averaged;
  private final Ema ema;
  private final AdamW optimizer;
  private final Tensor numbers; // [MOST_UNREAD, NUMBERS] float32, on the device
  private final List<int[]> unread = new ArrayList<>();
  private final Workers workers;
  private final SkippedSteps skipped = new SkippedSteps("pictures");
  private long step;
  private final Opened opened = new Opened();
  private boolean closed;

  /**
   * A training at its start, weights drawn from the seed.
   *
   * @param split which pictures of {@code set} are trained on
   * @param threads shards of a batch that are computed side by side, on the CPU; a GPU takes
   *     batches whole
   * @param loaders threads that build batches
   * @throws IllegalArgumentException if the network cannot be trained so
   */
  public ReconstructionTrainer(
      DcAeConfig config,
      ReconstructionOptions options,
      PictureSet set,
      HoldOut split,
      RunFolder folder,
      Device device,
      int threads,
      int loaders) {
    options.require(config);
    this.options = options;
    this.set = set;
    this.split = split;
    this.folder = folder;
    this.loaders = loaders;
    TrainOptions.Pace pace = options.pace();
    CheckpointStore store =
        new CheckpointStore(folder.checkpoints(), pace.keep(), pace.milestoneEvery());
    ModelFile description = new ModelFile(config.toNode(), Optional.empty(), List.of());
    boolean heldOut = split.heldOut().length > 0;
    validation = validation(heldOut ? split.heldOut() : split.atLeast(Validation.SHOWN));
    try {
      model = opened.add(new DcAe(config, device));
      average = opened.add(new DcAe(config, device));
      weights = opened.add(new FlatParameters(model.parameters(), true));
      averaged = opened.add(new FlatParameters(average.parameters(), false));
      DcAeInitializer.initialize(model, options.seed());
      ema = new Ema(average);
      ema.copyFrom(model);
      optimizer = opened.add(new AdamW(weights, options.adamW()));
      try (PointerScope scope = new PointerScope()) {
        numbers = torch.zeros(MOST_UNREAD, NUMBERS).to(device, torch.ScalarType.Float);
        numbers.retainReference();
      }
      Snapshot snapshot = new Snapshot(new Checkpoint.Trained(model, ema, optimizer));
      checkpoints = new CheckpointWriter(store, description, snapshot, true);
    } catch (RuntimeException e) {
      opened.close();
      throw e;
    }
    Devices.setThreads(1);
    workers = new Workers(device.is_cuda() ? 1 : threads);
  }

  private Validation validation(int[] pictures) {
    return new Validation(set, pictures, options.crop(), options.batch(), options.precision());
  }

  /**
   * Begins with the weights of an autoencoder.
   *
   * @throws IllegalArgumentException naming every tensor that does not fit
   */
  public void begin(DcAeFolder from) throws IOException {
    try (TensorSource source = from.openWeights()) {
      model.restore(source);
    }
    ema.copyFrom(model);
    LOG.info("the weights to begin with: {}", from.weights());
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
    if (state.packs() != split.trained().length) {
      LOG.warn(
          "going on with other data than {}: expected {} pictures, found {}",
          checkpoint.folder(),
          split.trained().length,
          state.packs());
    }
    checkpoint.restore(new Checkpoint.Trained(model, ema, optimizer));
    step = state.step();
    LOG.info("resumed at step {} from {}", step, checkpoint.folder());
  }

  /** Steps taken. */
  public long step() {
    return step;
  }

  /** The weights that are trained; owned by this trainer. */
  public DcAe model() {
    return model;
  }

  /** Their moving average; owned by this trainer. */
  public DcAe average() {
    return average;
  }

  /** What {@code dataset.json} says of the pictures. */
  public ObjectNode describeData() {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.put("images", set.size()).put("skipped", set.skipped().size());
    IntStream.of(split.heldOut())
        .mapToObj(set::name)
        .sorted()
        .forEach(node.putArray("held_out")::add);
    return node;
  }

  /**
   * Takes steps until they are done, the time is up or a stop is asked for; then writes a
   * checkpoint and, unless stopped, the result.
   *
   * @throws TrainingFailedException after ten steps in a row that were not finite
   */
  public TrainingLoop.Outcome run(MetricsLog metrics, StopSignal stop, boolean quiet)
      throws IOException {
    RandomCrops crops =
        new RandomCrops(set, split.trained(), options.crop(), options.batch(), options.seed());
    try (Prefetcher<CropBatch> loader = new Prefetcher<>(crops, step, loaders, loaders + 1)) {
      return new TrainingLoop(options.learningRate(), options.pace())
          .run(new Run(loader), metrics, stop, quiet);
    }
  }

  /** One run as the loop sees it. */
  private final class Run implements TrainingLoop.Training {
    private final Prefetcher<CropBatch> loader;
    private final Meter meter = new Meter(options.loss().ssim() > 0);

    Run(Prefetcher<CropBatch> loader) {
      this.loader = loader;
    }

    @Override
    public long step() {
      return step;
    }

    @Override
    public void take(double rate) throws IOException {
      checkpoints.report();
      CropBatch batch = loader.next();
      ReconstructionTrainer.this.step(batch, rate);
      meter.trainedOn(batch.size());
      if (unread.size() == MOST_UNREAD) {
        read(meter);
      }
    }

    @Override
    public TrainingLoop.Report report(double rate) {
      read(meter);
      double epoch = step * options.batch() / (double) split.trained().length;
      return meter.take(rate, skipped.total(), epoch);
    }

    @Override
    public boolean hasSamples() {
      return true;
    }

    @Override
    public void sample(MetricsLog metrics) throws IOException {
      read(meter);
      if (split.heldOut().length > 0) {
        Validation.Scores scores = validation.measure(average);
        Map<String, Double> row = new LinkedHashMap<>();
        row.put("val_psnr", scores.psnr());
        row.put("val_ssim", scores.ssim());
        metrics.scalars(step, row);
      }
      folder.writeSamples(step, validation.draw(average), metrics);
    }

    @Override
    public void save() throws IOException {
      read(meter);
      TrainingState state =
          new TrainingState(
              step,
              optimizer.steps(),
              options.seed(),
              step * options.batch(),
              split.trained().length,
              model.config().toNode(),
              options.toNode());
      checkpoints.save(state);
    }

    @Override
    public void awaitSaved() throws IOException {
      checkpoints.finish();
    }

    @Override
    public void finish() throws IOException {
      writeResult();
    }
  }

  private void step(CropBatch batch, double rate) {
    try (PointerScope scope = new PointerScope()) {
      Tensor gradients = weights.values().grad();
      gradients.zero_();
      int shards = Math.min(workers.count(), batch.size());
      List<Callable<Tensor>> tasks = new ArrayList<>();
      for (int shard = 0; shard < shards; shard++) {
        int from = batch.size() * shard / shards;
        int to = batch.size() * (shard + 1) / shards;
        tasks.add(() -> backward(batch, from, to - from));
      }
      Tensor terms = null;
      for (Tensor share : workers.run(tasks)) {
        scope.attach(share);
        share.releaseReference(); // the one that brought it out of the worker's scope
        terms = terms == null ? share : terms.add(share);
      }
      update(terms, gradients, rate);
    }
    unread.add(batch.pictures());
    step++;
  }

  /** Adds some crops' share of the step's gradient; their share of the terms, [TERMS]. */
  private Tensor backward(CropBatch batch, int from, int count) {
    try (PointerScope scope = new PointerScope()) {
      Tensor x = Crops.onDevice(batch, from, count, model.device());
      Tensor y = Crops.reconstruct(model, x, options.precision());
      ReconstructionLoss.Terms terms = options.loss().compute(y, x);
      Scalar share = new Scalar((double) count / batch.size());
      terms.total().mul(share).backward();
      Tensor weighted = terms.stacked().mul(share);
      weighted.retainReference();
      return weighted;
    }
  }

  /** Clips, steps and averages, all of it only if the step is finite. */
  private void update(Tensor terms, Tensor gradients, double rate) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor norm = gradients.norm();
      Tensor finite = torch.isfinite(norm.add(terms.select(0, 0)));
      Tensor good = finite.to(torch.ScalarType.Float);
      DoubleOptional zero = new DoubleOptional(0);
      gradients.nan_to_num_(zero, zero, zero);
      if (options.clip() > 0) {
        Tensor factor =
            norm.add(new Scalar(CLIP_EPS))
                .reciprocal()
                .mul(new Scalar(options.clip()))
                .clamp_max(new Scalar(1f));
        gradients.mul_(torch.where(finite, factor, new Scalar(0f)));
      }
      optimizer.step(rate, good);
      double decay = options.emaDecay(step + 1);
      Ema.update(averaged, weights, good.mul(new Scalar(1 - decay)));
      Tensor both = torch.stack(new TensorVector(norm, good));
      numbers.select(0, unread.size()).copy_(torch.cat(new TensorVector(terms, both), 0));
    }
  }

  /** Takes up the numbers of the steps since the last time, which waits for the device. */
  private void read(Meter meter) {
    if (unread.isEmpty()) {
      return;
    }
    float[] all;
    try (PointerScope scope = new PointerScope()) {
      all = Weights.floats(numbers.narrow(0, 0, unread.size()));
    }
    List<int[]> pictures = List.copyOf(unread);
    unread.clear();
    for (int i = 0; i < pictures.size(); i++) {
      float[] one = Arrays.copyOfRange(all, i * NUMBERS, (i + 1) * NUMBERS);
      if (one[GOOD] == 1) {
        skipped.taken();
        meter.add(one, one[NORM]);
      } else {
        String names =
            String.join(", ", IntStream.of(pictures.get(i)).mapToObj(set::name).toList());
        skipped.skipped(step - pictures.size() + i + 1, one[0], one[NORM], names);
      }
    }
  }

  /** The averaged weights in diffusers' layout, with the scale that their latents have. */
  private void writeResult() throws IOException {
    double spread = validation(split.atLeast(SCALED_BY)).latentSpread(average);
    double scale = new BigDecimal(1 / spread).round(new MathContext(SCALE_DIGITS)).doubleValue();
    LOG.info("scaling factor {}: latents have a standard deviation of {}", scale, spread);
    SafetensorsWriter writer = new SafetensorsWriter().metadata("format", "pt");
    new TreeMap<>(average.parameters())
        .forEach((name, t) -> writer.add(Weights.spec(name, t), () -> Weights.bytes(t)));
    DcAeConfig config = average.config().withScalingFactor(scale);
    DcAeFolder.write(folder.autoencoder(), config, writer::write);
    LOG.info("the averaged weights of step {}: {}", step, folder.autoencoder());
  }

  /** Frees model, average and optimizer. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      checkpoints.close();
      workers.close();
      numbers.close();
      opened.close();
    }
  }
}
