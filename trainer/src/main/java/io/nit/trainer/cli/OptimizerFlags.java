package io.nit.trainer.cli;

import io.nit.core.config.NitConfig;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.LearningRate;
import picocli.CommandLine.Option;

/** The options that change the numbers of a training (a picocli mixin). */
final class OptimizerFlags {
  @Option(
      names = "--steps",
      paramLabel = "N",
      defaultValue = "1000000",
      description = "Steps of the whole training (default: ${DEFAULT-VALUE}).")
  long steps;

  @Option(
      names = "--lr",
      paramLabel = "RATE",
      defaultValue = "5e-5",
      description =
          "Learning rate (default: ${DEFAULT-VALUE}, the paper's for one pack a step of S and B).")
  double learningRate;

  @Option(
      names = "--lr-schedule",
      paramLabel = "SHAPE",
      defaultValue = "constant",
      description =
          "${COMPLETION-CANDIDATES} after the warm-up, the latter two down to 0 at --steps "
              + "(default: ${DEFAULT-VALUE}).",
      completionCandidates = Schedules.class)
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
      defaultValue = "0.9,0.95",
      description = "AdamW's betas (default: ${DEFAULT-VALUE}).")
  double[] betas;

  @Option(
      names = "--eps",
      paramLabel = "X",
      defaultValue = "1e-6",
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
      defaultValue = "0.9999",
      description = "Decay of the weights' moving average (default: ${DEFAULT-VALUE}).")
  double ema;

  @Option(
      names = "--ema-warmup",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description =
          "Let the decay rise to --ema, as (1+n)/(10+n) after step n, so that short runs average"
              + " trained weights; --no-ema-warmup is the authors' way (default:"
              + " ${DEFAULT-VALUE}).")
  boolean emaWarmup;

  @Option(
      names = "--accumulate",
      paramLabel = "N",
      defaultValue = "1",
      description =
          "Packs of a step. Each counts by its tokens, so the step is that of one pack with all of "
              + "their images (default: ${DEFAULT-VALUE}).")
  int accumulate;

  @Option(
      names = "--label-dropout",
      paramLabel = "CHANCE",
      description =
          "Chance of a label to become the null class, which guidance needs (default: the "
              + "config's class_dropout_prob).")
  Double labelDropout;

  @Option(
      names = "--p-mean",
      paramLabel = "X",
      defaultValue = "0",
      description = "t = s/(1+s), s = exp(X + p-std·draw) (default: ${DEFAULT-VALUE}).")
  double timeMean;

  @Option(
      names = "--p-std",
      paramLabel = "X",
      defaultValue = "1",
      description = "Spread of that draw (default: ${DEFAULT-VALUE}).")
  double timeStd;

  @Option(
      names = "--directional",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description = "Count the directional term in the loss (default: ${DEFAULT-VALUE}).")
  boolean directional;

  @Option(
      names = "--proj-coeff",
      paramLabel = "X",
      defaultValue = "0",
      description =
          "Weight of the REPA term; above 0 the data set must hold features (default: "
              + "${DEFAULT-VALUE}; the paper's is 1).")
  double projCoeff;

  @Option(
      names = "--seed",
      paramLabel = "N",
      defaultValue = "0",
      description = "Key of all randomness (default: ${DEFAULT-VALUE}).")
  long seed;

  /** The spellings of {@code --lr-schedule}. */
  static final class Schedules extends java.util.ArrayList<String> {
    private static final long serialVersionUID = 1;

    Schedules() {
      for (LearningRate.Schedule schedule : LearningRate.Schedule.values()) {
        add(schedule.key());
      }
    }
  }

  TrainOptions options(NitConfig config, TrainOptions.Pace pace) {
    if (betas.length != 2) {
      throw new IllegalArgumentException("--betas: expected two values, found " + betas.length);
    }
    return new TrainOptions(
        new LearningRate(schedule, learningRate, warmup, steps),
        new AdamW.Options(betas[0], betas[1], eps, weightDecay),
        clip,
        ema,
        emaWarmup,
        accumulate,
        labelDropout == null ? config.classDropoutProb() : labelDropout,
        timeMean,
        timeStd,
        new FlowMatchingLoss(directional, projCoeff),
        seed,
        pace);
  }
}
