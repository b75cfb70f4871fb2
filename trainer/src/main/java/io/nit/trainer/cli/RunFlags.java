package io.nit.trainer.cli;

import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.cli.Cli;
import io.nit.core.cli.StopSignal;
import io.nit.core.io.FileTree;
import io.nit.trainer.checkpoint.Checkpoint;
import io.nit.trainer.checkpoint.CheckpointStore;
import io.nit.trainer.loop.RunFolder;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.loop.TrainingLoop;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Option;

/** How a training of any network runs, saves and goes on (a picocli mixin). */
final class RunFlags {
  private static final Logger LOG = LoggerFactory.getLogger(RunFlags.class);

  @Option(
      names = "--resume",
      paramLabel = "auto|none|DIR",
      defaultValue = "auto",
      description =
          "auto: go on from the newest complete checkpoint in --output, if there is one; none: "
              + "begin anew; DIR: go on from this checkpoint (default: ${DEFAULT-VALUE}).")
  String resume;

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
      description = "The last checkpoints to keep (default: ${DEFAULT-VALUE}).")
  int keep;

  @Option(
      names = "--milestone-every",
      paramLabel = "STEPS",
      defaultValue = "0",
      description =
          "Also keep the checkpoints of multiples of this step, a multiple of --checkpoint-every; 0 "
              + "for none (default: ${DEFAULT-VALUE}).")
  long milestoneEvery;

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
      names = "--max-hours",
      paramLabel = "X",
      defaultValue = "0",
      description = "The same in hours; give one of the two (default: ${DEFAULT-VALUE}).")
  double maxHours;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description =
          "CPU threads, each of which computes a part of every step; 0 for one a core. A run gives "
              + "the same bits every time with 1 (default: ${DEFAULT-VALUE}).")
  int threads;

  @Option(
      names = "--device",
      paramLabel = "auto|cpu|cuda",
      defaultValue = "auto",
      description = "Where to compute (default: ${DEFAULT-VALUE}).")
  String device;

  /** What happens how often. */
  TrainOptions.Pace pace(long sampleEvery) {
    if (maxHours != 0 && maxMinutes != 0) {
      throw new IllegalArgumentException(
          "--max-hours: expected no --max-minutes beside it, found " + maxMinutes);
    }
    if (!(maxHours >= 0)) {
      throw new IllegalArgumentException("--max-hours: expected 0 or more, found " + maxHours);
    }
    return new TrainOptions.Pace(
        checkpointEvery, keep, sampleEvery, logEvery, minutes(), milestoneEvery);
  }

  /** The bound by either of its two flags. */
  private double minutes() {
    return maxHours == 0 ? maxMinutes : maxHours * 60;
  }

  /** The threads asked for, or one a core. */
  int threads() {
    if (threads < 0 || threads > 1024) {
      throw new IllegalArgumentException("--threads: expected 0..1024, found " + threads);
    }
    return threads == 0 ? Runtime.getRuntime().availableProcessors() : threads;
  }

  /**
   * The checkpoint to go on from, if any.
   *
   * @throws IllegalArgumentException if {@code --resume} or {@code --output} does not fit
   * @throws IOException if there is nothing at {@code --resume}, or it cannot be read
   */
  Optional<Checkpoint> checkpoint(RunFolder folder) throws IOException {
    FileTree.requireFolderOrNothing("--output", folder.root());
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
        String expected =
            "--resume: expected auto, none or a checkpoint's folder such as"
                + " run/checkpoints/step-0000500, found ";
        if (!Files.exists(from)) {
          throw new IOException(expected + "nothing at " + from);
        }
        if (!Checkpoint.isOne(from)) {
          throw new IllegalArgumentException(expected + from);
        }
        return Optional.of(Checkpoint.open(from));
    }
  }

  /** Adds these flags to what {@code train.json} says. */
  ObjectNode describe(ObjectNode options, long sampleEvery) {
    return options
        .put("threads", threads)
        .put("device", device)
        .put("checkpoint-every", checkpointEvery)
        .put("keep", keep)
        .put("sample-every", sampleEvery)
        .put("log-every", logEvery)
        .put("milestone-every", milestoneEvery)
        .put("max-minutes", minutes());
  }

  /** Says how a run ended. */
  static void say(TrainingLoop.Outcome outcome, long step) {
    switch (outcome) {
      case DONE -> LOG.info("done: {} steps", step);
      case OUT_OF_TIME -> LOG.info("the time is over: {} steps", step);
      case STOPPED ->
          // A warning, which --quiet leaves: where the work is and how it is finished.
          LOG.warn(
              "stopped at step {}, which is saved; the same command goes on from there, with"
                  + " --resume auto (the default)",
              step);
    }
  }

  /** What a run ends with: a stop is no end of its work, although it is saved. */
  static int exitCode(TrainingLoop.Outcome outcome, StopSignal stop) {
    return outcome == TrainingLoop.Outcome.STOPPED ? stop.exitCode() : Cli.DONE;
  }
}
