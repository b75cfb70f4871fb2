package io.nit.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.LatentCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.io.FolderLock;
import io.nit.core.tensor.NitTensors;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.checkpoint.CheckpointStore;
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.data.TrainingDataSets;
import io.nit.trainer.loop.RunFolder;
import io.nit.trainer.loop.SampleGrid;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.loop.Trainer;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.Devices;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.Device;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** The command {@code nit-train}. */
@Command(
    name = "nit-train",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    subcommands = {Prepare.class, Pack.class},
    description =
        "Trains a NiT on a folder of pictures (one folder a class) or on prepared latents.%n",
    footer = {
      "",
      "The output folder holds config.json, train.json, dataset.json,",
      "checkpoints/, metrics.jsonl, events/ (TensorBoard), loss.png, samples/ and,",
      "at the end, model.safetensors: the averaged weights, which nit-export takes",
      "as they are. Latents of a DC-AE need it for the samples only: --autoencoder DIR,",
      "unless the folder that made them is still where it was. Ctrl-C ends after the running step with a checkpoint; the same",
      "command again goes on from there.",
      "",
      "Examples:",
      "  nit-train --preset s --data pictures --output run --max-tokens 2048",
      "  nit-train --config tiny.json --data pictures --output run --max-minutes 30",
      "  nit-train --preset xl --data latents --output run --proj-coeff 1",
      "  nit-train --preset s --data pictures --autoencoder dc-ae --output run",
      "  nit-train --config tiny.json --data pictures --output other \\",
      "      --resume run/checkpoints/step-0000500",
      "",
      "Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped."
    })
public final class Train implements Callable<Integer> {
  private static final Logger LOG = LoggerFactory.getLogger(Train.class);

  /** Where the network's shape comes from. */
  static final class Network {
    @Option(
        names = "--config",
        paramLabel = "FILE",
        description = "The network, JSON under the authors' key names.")
    Path config;

    @Option(
        names = "--preset",
        paramLabel = "SIZE",
        description =
            "The network, one of s, b, l, xl, xxl; classes and channels are the data set's.")
    String preset;
  }

  @ArgGroup(multiplicity = "0..1")
  Network network;

  // Not required to picocli, which would then ask for them with every subcommand too.
  @Option(names = "--data", paramLabel = "DIR", description = "The data set.")
  Path data;

  @Option(names = "--output", paramLabel = "DIR", description = "The run's folder.")
  Path output;

  @Option(
      names = "--resume",
      paramLabel = "auto|none|DIR",
      defaultValue = "auto",
      description =
          "auto: go on from the newest complete checkpoint in --output, if there is one; none: "
              + "begin anew; DIR: go on from this checkpoint (default: ${DEFAULT-VALUE}).")
  String resume;

  @Mixin OptimizerFlags optimizer;

  @Mixin DataFlags dataFlags;

  @Mixin AutoencoderFlags autoencoder;

  @Mixin SampleFlags samples;

  @Option(
      names = "--checkpoint-every",
      paramLabel = "STEPS",
      defaultValue = "1000",
      description = "Steps between checkpoints; the last step has one (default: ${DEFAULT-VALUE}).")
  long checkpointEvery;

  @Option(
      names = "--keep",
      paramLabel = "N",
      defaultValue = "3",
      description = "Checkpoints to keep (default: ${DEFAULT-VALUE}).")
  int keep;

  @Option(
      names = "--log-every",
      paramLabel = "STEPS",
      defaultValue = "10",
      description = "Steps between rows of metrics (default: ${DEFAULT-VALUE}).")
  long logEvery;

  @Option(
      names = "--max-minutes",
      paramLabel = "X",
      defaultValue = "0",
      description =
          "End after this time as if all steps were done; 0 for no bound (default: ${DEFAULT-VALUE}).")
  double maxMinutes;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "CPU threads, each of which computes a part of every pack; 0 for one a core. A run gives "
              + "the same bits every time with 1 (default: ${DEFAULT-VALUE}).")
  int threads;

  @Option(
      names = "--device",
      paramLabel = "auto|cpu|cuda",
      defaultValue = "auto",
      description = "Where to compute (default: ${DEFAULT-VALUE}).")
  String device;

  @Mixin CommonOptions common;

  /** Made by picocli. */
  public Train() {}

  /** Runs the command. */
  public static void main(String[] args) {
    Cli.main(new Train(), args);
  }

  @Override
  public Integer call() throws IOException {
    require("--data", data);
    require("--output", output);
    NitConfig asked = askedConfig();
    TrainOptions.Pace pace =
        new TrainOptions.Pace(checkpointEvery, keep, samples.every, logEvery, maxMinutes);
    TrainOptions options = optimizer.options(asked, pace);
    RunFolder folder = new RunFolder(output.toAbsolutePath().normalize());
    Optional<Checkpoint> from = checkpoint(folder);
    StopSignal stop = StopSignal.install();
    int workers = threads();
    Device target = Devices.choose(device);

    try (LatentCodec learned = autoencoder.open(target).orElse(null);
        TrainingData set =
            TrainingDataSets.open(
                data,
                dataFlags.options(
                    asked,
                    options.loss().projCoeff() > 0,
                    common.quiet(),
                    Optional.ofNullable(learned)));
        LatentCodec decoder =
            SampleCodec.find(set, Optional.ofNullable(learned), autoencoder, target).orElse(null)) {
      NitConfig config = fitted(asked, set);
      Optional<SampleGrid> grid =
          samples.grid(config, set, Optional.ofNullable(decoder), options.seed());
      try (Trainer trainer = new Trainer(config, options, set, folder, target, workers);
          FolderLock lock = folder.lock()) {
        if (from.isPresent()) {
          trainer.resume(from.get());
        }
        folder.describe(config, describe(options), set);
        LOG.info(
            "{} parameters; {} images in {} packs of at most {} tokens; {} steps",
            NitTensors.parameters(config, trainer.model().hasProjector()),
            set.images(),
            set.packs(),
            dataFlags.maxTokens,
            options.steps());
        try (MetricsLog metrics = MetricsLog.open(folder.root(), trainer.step())) {
          return finish(trainer.run(metrics, grid, stop, common.quiet()), trainer.step());
        }
      }
    }
  }

  private int threads() {
    if (threads < 0 || threads > 1024) {
      throw new IllegalArgumentException("--threads: expected 0..1024, found " + threads);
    }
    return threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
  }

  private int finish(Trainer.Outcome outcome, long step) {
    switch (outcome) {
      case DONE -> LOG.info("done: {} steps", step);
      case OUT_OF_TIME -> LOG.info("--max-minutes is over: {} steps", step);
      case STOPPED -> LOG.info("stopped at step {}; the same command goes on from there", step);
    }
    return outcome == Trainer.Outcome.STOPPED ? Cli.INTERRUPTED : Cli.DONE;
  }

  private static void require(String flag, Path value) {
    if (value == null) {
      throw new IllegalArgumentException(flag + ": expected a folder, found nothing");
    }
  }

  private NitConfig askedConfig() throws IOException {
    if (network == null) {
      throw new IllegalArgumentException("expected --config FILE or --preset SIZE, found neither");
    }
    return network.preset != null
        ? NitConfig.preset(network.preset)
        : NitConfig.read(network.config, PositionOrder.AXIAL);
  }

  /** A preset takes the data set's channels and classes; a config file must fit them. */
  NitConfig fitted(NitConfig asked, TrainingData set) {
    Map<String, Object> changes = new LinkedHashMap<>();
    if (asked.inChannels() != set.channels()) {
      changes.put("in_channels", set.channels());
    }
    boolean preset = network.preset != null;
    if (set.classes() > asked.numClasses()
        || preset && set.classes() > 0 && set.classes() < asked.numClasses()) {
      changes.put("num_classes", set.classes());
    }
    if (changes.isEmpty()) {
      return asked;
    }
    if (!preset) {
      throw new IllegalArgumentException(
          network.config
              + " does not fit the data set: expected "
              + changes
              + ", found in_channels "
              + asked.inChannels()
              + ", num_classes "
              + asked.numClasses());
    }
    LOG.info("--preset {}: {} as the data set has them", network.preset, changes);
    return asked.with(changes);
  }

  private Optional<Checkpoint> checkpoint(RunFolder folder) throws IOException {
    CheckpointStore store = new CheckpointStore(folder.checkpoints(), keep);
    switch (resume) {
      case "auto":
        return store.newest();
      case "none":
        if (!store.list().isEmpty()) {
          throw new IllegalArgumentException(
              "--resume none: expected an --output without checkpoints, found "
                  + store.list().size()
                  + " in "
                  + folder.checkpoints());
        }
        return Optional.empty();
      default:
        Path from = Path.of(resume);
        if (!Checkpoint.isOne(from)) {
          throw new IllegalArgumentException(
              "--resume: expected auto, none or a checkpoint's folder such as"
                  + " run/checkpoints/step-0000500, found "
                  + from);
        }
        return Optional.of(Checkpoint.open(from));
    }
  }

  private ObjectNode describe(TrainOptions options) {
    return options
        .toNode()
        .put("data", data.toAbsolutePath().normalize().toString())
        .put("max-tokens", dataFlags.maxTokens)
        .put("max-images", dataFlags.maxImages)
        .put("codec-factor", dataFlags.codecFactor())
        .put("autoencoder", autoencoder.folder == null ? null : autoencoder.folder.toString())
        .put("autoencoder-precision", autoencoder.precision)
        .put("max-side", dataFlags.maxSide)
        .put("crop-alpha", dataFlags.cropAlpha)
        .put(
            "sampler-meta", dataFlags.samplerMeta == null ? null : dataFlags.samplerMeta.toString())
        .put("threads", threads)
        .put("device", device)
        .put("checkpoint-every", checkpointEvery)
        .put("keep", keep)
        .put("sample-every", samples.every)
        .put("log-every", logEvery)
        .put("max-minutes", maxMinutes);
  }
}
