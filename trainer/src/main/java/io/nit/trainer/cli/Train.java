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
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.data.TrainingDataSets;
import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.LocalLauncher;
import io.nit.trainer.dist.Ranks;
import io.nit.trainer.loop.RunFolder;
import io.nit.trainer.loop.SampleGrid;
import io.nit.trainer.loop.StepOptions;
import io.nit.trainer.loop.Throughput;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.loop.Trainer;
import io.nit.trainer.loop.TrainingLoop;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.model.Devices;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.Device;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.ArgGroup;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** The command {@code nit-train}. */
@Command(
    name = "nit-train",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    subcommands = {Prepare.class, Pack.class, Autoencoder.class},
    description =
        "Trains a NiT on a folder of pictures (one folder a class) or on prepared latents.%n",
    footer = {
      "",
      "The output folder holds config.json, train.json, dataset.json,",
      "checkpoints/, metrics.jsonl, events/ (TensorBoard), loss.png, samples/ and,",
      "at the end, model.safetensors: the averaged weights, which nit-export takes",
      "as they are. Latents of a DC-AE need it for the samples only: --autoencoder",
      "DIR, unless the folder that made them is still where it was. Ctrl-C ends",
      "after the running step with a checkpoint; the same command again goes on",
      "from there. Before the first step, as while pictures are read, it ends at",
      "once.",
      "",
      "Examples:",
      "  nit-train --preset s --data pictures --output run --max-tokens 2048",
      "  nit-train --config tiny.json --data pictures --output run --max-minutes 30",
      "  nit-train --preset xl --data latents --output run --proj-coeff 1",
      "  nit-train --preset s --data pictures --autoencoder dc-ae --output run",
      "  nit-train --preset s --data latents --output run --nproc 4 --threads 2",
      "  nit-train --preset xl --data latents --output run --device cuda --nproc 8",
      "  nit-train --config tiny.json --data pictures --output other \\",
      "      --resume run/checkpoints/step-0000500",
      "",
      "Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C, 143 by",
      "SIGTERM (the last step is saved)."
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

  @Mixin OptimizerFlags optimizer;

  @Mixin DataFlags dataFlags;

  @Mixin AutoencoderFlags autoencoder;

  @Mixin SampleFlags samples;

  @Mixin RunFlags run;

  @Option(
      names = "--nproc",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "Processes on this machine that train together, on CUDA one a GPU; each takes packs of its "
              + "own (default: ${DEFAULT-VALUE}). Several machines: start nit-train in each process "
              + "with RANK, WORLD_SIZE, LOCAL_RANK, MASTER_ADDR and MASTER_PORT, as torchrun and "
              + "Slurm jobs set them.")
  int processes;

  @Option(
      names = "--shard-optimizer",
      negatable = true,
      fallbackValue = "true",
      description =
          "Each process keeps the optimizer's moments of its part of the weights only, 8 bytes a "
              + "parameter shared among them; the result is the same (default: on CUDA, where it is"
              + " faster too).")
  Boolean shardOptimizer;

  @Option(
      names = "--step",
      paramLabel = "auto|fused|reference",
      defaultValue = "auto",
      description =
          "How a step is computed. fused: the backward written out, on CUDA with our kernels, in "
              + "bfloat16 over float32 weights; reference: autograd, in float32; auto: fused on CUDA "
              + "where it takes the model, and says which (default: ${DEFAULT-VALUE}).")
  String stepPath;

  @Option(
      names = "--activation-checkpointing",
      description =
          "The fused step keeps each block's input only and computes the block again in the "
              + "backward: less memory for XXL and long packs, about a third more time.")
  boolean checkpointing;

  @Mixin CommonOptions common;

  /** How long the ranks wait for each other at the start. */
  private static final Duration MEETING = Duration.ofMinutes(5);

  @Spec CommandSpec spec;

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
    if (processes < 1 || processes > 1024) {
      throw new IllegalArgumentException("--nproc: expected 1..1024, found " + processes);
    }
    Ranks ranks = Ranks.of(System.getenv());
    if (processes > 1) {
      if (ranks.worldSize() > 1) {
        throw new IllegalArgumentException(
            "--nproc: expected 1 where the environment has RANK and WORLD_SIZE, found "
                + processes);
      }
      return launch();
    }
    NitConfig asked = askedConfig();
    TrainOptions options = optimizer.options(asked, run.pace(samples.every));
    RunFolder folder = new RunFolder(output.toAbsolutePath().normalize());
    Optional<Checkpoint> from = ranks.leads() ? run.checkpoint(folder) : Optional.empty();
    StepOptions how = new StepOptions(StepOptions.Path.parse(stepPath), checkpointing);
    int workers = run.threads();
    Device target = Devices.choose(run.device, ranks.localRank());
    boolean quiet = common.quiet() || !ranks.leads();

    try (Collectives collectives = Collectives.meet(ranks, target, MEETING);
        LatentCodec learned = autoencoder.open(target).orElse(null);
        TrainingData set =
            TrainingDataSets.open(
                data,
                dataFlags.options(
                    asked, options.loss().projCoeff() > 0, quiet, Optional.ofNullable(learned)));
        LatentCodec decoder =
            SampleCodec.find(set, Optional.ofNullable(learned), autoencoder, target).orElse(null)) {
      NitConfig config = fitted(asked, set);
      Optional<SampleGrid> grid =
          samples.grid(config, set, Optional.ofNullable(decoder), options.seed());
      try (Trainer trainer =
              new Trainer(
                  config,
                  options,
                  set,
                  folder,
                  target,
                  workers,
                  collectives,
                  sharded(target),
                  how);
          FolderLock lock = ranks.leads() ? folder.lock() : null) {
        if (!ranks.leads()) {
          return finish(trainer, MetricsLog.none(), grid, quiet, collectives);
        }
        if (from.isPresent()) {
          trainer.resume(from.get());
        }
        folder.describe(config, describe(options, sharded(target)), set);
        LOG.info(
            "{} parameters; {} images in {} packs of at most {} tokens; {} steps",
            NitTensors.parameters(config, trainer.model().hasProjector()),
            set.images(),
            set.packs(),
            dataFlags.maxTokens,
            options.steps());
        try (MetricsLog metrics = MetricsLog.open(folder.root(), trainer.step())) {
          return finish(trainer, metrics, grid, quiet, collectives);
        }
      }
    }
  }

  private static int finish(
      Trainer trainer,
      MetricsLog metrics,
      Optional<SampleGrid> grid,
      boolean quiet,
      Collectives collectives)
      throws IOException {
    collectives.sum(new double[1]); // comes back once all have read their data
    // A signal has ended the process at once so far: there was nothing to save.
    StopSignal stop = StopSignal.install();
    TrainingLoop.Outcome outcome = trainer.run(metrics, grid, stop, quiet);
    collectives.leave();
    Throughput throughput = trainer.throughput();
    if (collectives.ranks().leads() && throughput.steps() > 0) {
      LOG.info(
          "{} tokens/s over the last {} steps, processes: {}",
          Math.round(throughput.tokensPerSecond()),
          throughput.steps(),
          collectives.ranks().worldSize());
    }
    if (collectives.ranks().leads()) {
      RunFlags.say(outcome, trainer.step());
    }
    return RunFlags.exitCode(outcome, stop);
  }

  /** Starts the processes of {@code --nproc}. */
  private int launch() throws IOException {
    Devices.requireGpus(run.device, processes);
    return LocalLauncher.run(processes, Train.class, argumentsOfRanks());
  }

  /** This command's arguments but {@code --nproc}, those of argument files in the files' place. */
  List<String> argumentsOfRanks() {
    List<String> arguments = new ArrayList<>(spec.commandLine().getParseResult().expandedArgs());
    for (int i = 0; i < arguments.size(); i++) {
      if (arguments.get(i).equals("--nproc")) {
        arguments.subList(i, i + 2).clear();
      } else if (arguments.get(i).startsWith("--nproc=")) {
        arguments.remove(i);
      }
    }
    return arguments;
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
    if (network.preset == null) {
      return NitConfig.read(network.config, PositionOrder.AXIAL);
    }
    try {
      return NitConfig.preset(network.preset);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--" + e.getMessage(), e);
    }
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

  /** Unless told: where it was seen to pay, see tests/bench/RESULTS.md. */
  boolean sharded(Device device) {
    return shardOptimizer == null ? device.is_cuda() : shardOptimizer;
  }

  private ObjectNode describe(TrainOptions options, boolean sharded) {
    ObjectNode node =
        options
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
                "sampler-meta",
                dataFlags.samplerMeta == null ? null : dataFlags.samplerMeta.toString());
    node.put("nproc", processes).put("shard-optimizer", sharded);
    node.put("step", stepPath).put("activation-checkpointing", checkpointing);
    return run.describe(node, samples.every);
  }
}
