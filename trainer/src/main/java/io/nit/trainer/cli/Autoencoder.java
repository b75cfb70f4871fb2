package io.nit.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.StopSignal;
import io.nit.core.config.DcAeConfig;
import io.nit.core.io.FolderLock;
import io.nit.core.tensor.DcAeTensors;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.data.DataOptions;
import io.nit.trainer.data.PictureSet;
import io.nit.trainer.loop.RunFolder;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.loop.TrainingLoop;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.Devices;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.LearningRate;
import io.nit.trainer.reconstruction.HoldOut;
import io.nit.trainer.reconstruction.ReconstructionLoss;
import io.nit.trainer.reconstruction.ReconstructionOptions;
import io.nit.trainer.reconstruction.ReconstructionTrainer;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.Device;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-train autoencoder}: trains a DC-AE. */
@Command(
    name = "autoencoder",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description =
        "Trains a DC-AE, the learned autoencoder whose latents NiT can be trained on, on every "
            + "picture below a folder.%n",
    footer = {
      "",
      "A step takes random squares of --crop pixels, mirrored at random; pictures that",
      "are smaller are enlarged. The loss is l1·|y-x| + gradient·(differences of",
      "neighbours, at four scales) + ssim·(1-SSIM), of pictures in [-1, 1].",
      "",
      "The output folder holds config.json, train.json, dataset.json,",
      "checkpoints/, metrics.jsonl, events/ (TensorBoard), loss.png, samples/",
      "(pictures that were held out above their reconstructions) and, at the end,",
      "autoencoder/: the averaged weights in diffusers' layout, with the scaling",
      "factor that their latents need. Ctrl-C ends after the running step with a",
      "checkpoint; the same command again goes on from there. Before the first",
      "step, as while pictures are read, it ends at once. Pictures that cannot be",
      "read are skipped and listed in skipped.jsonl.",
      "",
      "Examples:",
      "  nit-train autoencoder --config samples/autoencoder/dc-ae-f8.json \\",
      "      --data pictures --output ae --steps 20000 --crop 128 --batch 32",
      "  nit-train autoencoder --preset f32c32-sana-1.1 --data pictures \\",
      "      --output ae --crop 256 --batch 16 --precision bf16",
      "  nit-train autoencoder --init dc-ae-f32c32-sana-1.1-diffusers \\",
      "      --data pictures --output tuned --lr 2e-5 --warmup 200",
      "",
      "Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C, 143 by",
      "SIGTERM (the last step is saved)."
    })
public final class Autoencoder implements Callable<Integer> {
  private static final Logger LOG = LoggerFactory.getLogger(Autoencoder.class);

  /** Where the network comes from. */
  static final class Network {
    @Option(
        names = "--config",
        paramLabel = "FILE",
        description = "The network, JSON as diffusers' config.json of an AutoencoderDC.")
    Path config;

    @Option(
        names = "--preset",
        paramLabel = "NAME",
        description = "The network, one of the published family, such as f32c32-sana-1.1.")
    String preset;

    @Option(
        names = "--init",
        paramLabel = "DIR",
        description = "Network and weights to begin with: a folder in diffusers' layout.")
    Path init;
  }

  @ArgGroup(multiplicity = "1")
  Network network;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Folder of JPEG, PNG, WebP, GIF or BMP pictures, in folders or not.")
  Path data;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "DIR",
      description = "The run's folder.")
  Path output;

  @Option(
      names = "--steps",
      paramLabel = "N",
      defaultValue = "100000",
      description = "Steps of the whole training (default: ${DEFAULT-VALUE}).")
  long steps;

  @Option(
      names = "--batch",
      paramLabel = "N",
      defaultValue = "16",
      description = "Crops of a step (default: ${DEFAULT-VALUE}).")
  int batch;

  @Option(
      names = "--crop",
      paramLabel = "PIXELS",
      defaultValue = "256",
      description =
          "Side of a crop, a multiple of the network's factor (default: ${DEFAULT-VALUE}).")
  int crop;

  @Option(
      names = "--lr",
      paramLabel = "RATE",
      defaultValue = "1e-4",
      description = "Learning rate (default: ${DEFAULT-VALUE}).")
  double learningRate;

  @Option(
      names = "--lr-schedule",
      paramLabel = "SHAPE",
      defaultValue = "constant",
      description =
          "${COMPLETION-CANDIDATES} after the warm-up, the latter two down to 0 at --steps "
              + "(default: ${DEFAULT-VALUE}).",
      completionCandidates = OptimizerFlags.Schedules.class)
  LearningRate.Schedule schedule;

  @Option(
      names = "--warmup",
      paramLabel = "N",
      defaultValue = "0",
      description = "Steps over which the rate rises to --lr (default: ${DEFAULT-VALUE}).")
  long warmup;

  @Option(
      names = "--weight-decay",
      paramLabel = "X",
      defaultValue = "0.01",
      description = "AdamW's weight decay, on all parameters (default: ${DEFAULT-VALUE}).")
  double weightDecay;

  @Option(
      names = "--betas",
      paramLabel = "B1,B2",
      split = ",",
      arity = "1",
      defaultValue = "0.9,0.99",
      description = "AdamW's betas (default: ${DEFAULT-VALUE}).")
  double[] betas;

  @Option(
      names = "--eps",
      paramLabel = "X",
      defaultValue = "1e-8",
      description = "AdamW's epsilon (default: ${DEFAULT-VALUE}).")
  double eps;

  @Option(
      names = "--clip",
      paramLabel = "NORM",
      defaultValue = "1",
      description = "Largest norm of the gradients; 0 for no bound (default: ${DEFAULT-VALUE}).")
  double clip;

  @Option(
      names = "--ema",
      paramLabel = "DECAY",
      defaultValue = "0.999",
      description =
          "Decay of the weights' moving average; it rises to that as (1+n)/(10+n) after step n"
              + " (default: ${DEFAULT-VALUE}).")
  double ema;

  @Option(
      names = "--l1",
      paramLabel = "WEIGHT",
      defaultValue = "1",
      description = "Weight of the absolute error (default: ${DEFAULT-VALUE}).")
  double l1;

  @Option(
      names = "--gradient",
      paramLabel = "WEIGHT",
      defaultValue = "0.5",
      description = "Weight of the error of differences (default: ${DEFAULT-VALUE}).")
  double gradient;

  @Option(
      names = "--ssim",
      paramLabel = "WEIGHT",
      defaultValue = "0",
      description = "Weight of 1 - SSIM (default: ${DEFAULT-VALUE}).")
  double ssim;

  @Option(
      names = "--precision",
      paramLabel = "auto|f32|bf16",
      defaultValue = "auto",
      description =
          "What activations are computed in, auto: bf16 on CUDA, f32 elsewhere; weights are f32"
              + " always (default: ${DEFAULT-VALUE}).")
  String precision;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Key of all randomness (default: ${DEFAULT-VALUE}).")
  long seed;

  @Option(
      names = "--validation",
      paramLabel = "N",
      description =
          "Pictures to hold out and measure by (default: 32, or 5 %% of them if that is fewer).")
  Integer validation;

  @Option(
      names = "--sample-every",
      paramLabel = "STEPS",
      defaultValue = "1000",
      description =
          "Steps between reconstruction grids and measurements from the averaged weights; 0 for"
              + " none but the last (default: ${DEFAULT-VALUE}).")
  long sampleEvery;

  @Option(
      names = "--memory-budget",
      paramLabel = "MIB",
      defaultValue = "1024",
      description =
          "MiB of decoded pictures to keep; those beyond it are read again whenever their turn "
              + "comes (default: ${DEFAULT-VALUE}).")
  long memoryBudgetMib;

  @Option(
      names = "--workers",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "Threads that decode pictures and build batches; 0 for one a core"
              + " (default: ${DEFAULT-VALUE}).")
  int workers;

  @Mixin RunFlags run;

  @Mixin CommonOptions common;

  /** Made by picocli. */
  public Autoencoder() {}

  @Override
  public Integer call() throws IOException {
    Optional<DcAeFolder> begin =
        network.init == null ? Optional.empty() : Optional.of(DcAeFolder.open(network.init));
    DcAeConfig config = config(begin);
    TrainOptions.Pace pace = run.pace(sampleEvery);
    int shards = run.threads();
    int loaders = loaders();
    Device target = Devices.choose(run.device);
    ReconstructionOptions options = options(target, pace);
    options.require(config);
    RunFolder folder = new RunFolder(output.toAbsolutePath().normalize());
    Optional<Checkpoint> from = run.checkpoint(folder);
    PictureSet set =
        PictureSet.open(
            data,
            new PictureSet.Options(
                crop, DataOptions.MAX_PIXELS, memoryBudget(), loaders, common.quiet()));
    HoldOut split = HoldOut.of(set, validation == null ? HoldOut.usual(set.size()) : validation);
    try (ReconstructionTrainer trainer =
            new ReconstructionTrainer(
                config, options, set, split, folder, target, shards, loaders);
        FolderLock lock = folder.lock()) {
      if (from.isPresent()) {
        trainer.resume(from.get());
      } else if (begin.isPresent()) {
        trainer.begin(begin.get());
      }
      folder.describe(
          config.toNode(), describe(options, split), trainer.describeData(), set.skipped());
      LOG.info(
          "{} parameters, factor {}, {} latent channels; {} pictures and {} held out; {} steps of"
              + " {} crops in {}",
          DcAeTensors.parameters(config),
          config.factor(),
          config.latentChannels(),
          split.trained().length,
          split.heldOut().length,
          steps,
          batch,
          options.precision());
      try (MetricsLog metrics = MetricsLog.open(folder.root(), trainer.step())) {
        // A signal has ended the process at once so far: there was nothing to save.
        StopSignal stop = StopSignal.install();
        TrainingLoop.Outcome outcome = trainer.run(metrics, stop, common.quiet());
        RunFlags.say(outcome, trainer.step());
        return RunFlags.exitCode(outcome, stop);
      }
    }
  }

  private DcAeConfig config(Optional<DcAeFolder> begin) throws IOException {
    if (begin.isPresent()) {
      return begin.get().config();
    }
    if (network.config != null) {
      return DcAeConfig.read(network.config);
    }
    try {
      return DcAeConfig.preset(network.preset);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--preset: " + e.getMessage(), e);
    }
  }

  private ReconstructionOptions options(Device target, TrainOptions.Pace pace) {
    if (betas.length != 2) {
      throw new IllegalArgumentException("--betas: expected two values, found " + betas.length);
    }
    return new ReconstructionOptions(
        new LearningRate(schedule, learningRate, warmup, steps),
        new AdamW.Options(betas[0], betas[1], eps, weightDecay),
        clip,
        ema,
        batch,
        crop,
        new ReconstructionLoss(l1, gradient, ssim),
        precision(target),
        seed,
        pace);
  }

  private Precision precision(Device target) {
    try {
      return Precision.parse(precision, target);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--precision: " + e.getMessage(), e);
    }
  }

  private int loaders() {
    if (workers < 0 || workers > 1024) {
      throw new IllegalArgumentException("--workers: expected 0..1024, found " + workers);
    }
    return workers == 0 ? Runtime.getRuntime().availableProcessors() : workers;
  }

  private long memoryBudget() {
    if (memoryBudgetMib < 0 || memoryBudgetMib > Long.MAX_VALUE >> 20) {
      throw new IllegalArgumentException(
          "--memory-budget: expected 0 or more MiB, found " + memoryBudgetMib);
    }
    return memoryBudgetMib << 20;
  }

  private ObjectNode describe(ReconstructionOptions options, HoldOut split) {
    ObjectNode node =
        options
            .toNode()
            .put("data", data.toAbsolutePath().normalize().toString())
            .put("init", network.init == null ? null : network.init.toString())
            .put("validation", split.heldOut().length)
            .put("memory-budget", memoryBudgetMib)
            .put("workers", workers);
    return run.describe(node, sampleEvery);
  }
}
