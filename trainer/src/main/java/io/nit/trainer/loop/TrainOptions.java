package io.nit.trainer.loop;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.LearningRate;

/**
 * How a training runs.
 *
 * @param learningRate rate by step, and the number of steps
 * @param adamW the optimizer's constants
 * @param clip largest norm of all gradients together; 0 for no bound
 * @param ema decay of the moving average
 * @param emaWarmup whether the decay rises to that, see {@link #emaDecay}
 * @param accumulate packs of a step; each counts by its tokens, so that the step is that of one
 *     pack with all of their images
 * @param labelDropout chance of a label to become the null class
 * @param timeMean mean of the normal draw behind t
 * @param timeStd spread of that draw
 * @param loss the loss' terms
 * @param seed key of every random stream
 * @param pace what happens how often
 */
public record TrainOptions(
    LearningRate learningRate,
    AdamW.Options adamW,
    double clip,
    double ema,
    boolean emaWarmup,
    int accumulate,
    double labelDropout,
    double timeMean,
    double timeStd,
    FlowMatchingLoss loss,
    long seed,
    Pace pace) {

  /**
   * What happens how often; none of it changes the weights.
   *
   * @param checkpointEvery steps between checkpoints; one is written at the end in any case
   * @param keep checkpoints to keep
   * @param sampleEvery steps between sample grids; 0 for none
   * @param logEvery steps between rows of metrics
   * @param maxMinutes time after which the run ends as if its steps were done; 0 for no bound
   * @param milestoneEvery checkpoints of multiples of this step are kept beside those; 0 for none
   */
  public record Pace(
      long checkpointEvery,
      int keep,
      long sampleEvery,
      long logEvery,
      double maxMinutes,
      long milestoneEvery) {
    /** A pace without milestones. */
    public Pace(
        long checkpointEvery, int keep, long sampleEvery, long logEvery, double maxMinutes) {
      this(checkpointEvery, keep, sampleEvery, logEvery, maxMinutes, 0);
    }

    /** Checks every value. */
    public Pace {
      require("--checkpoint-every", checkpointEvery >= 1, "1 or more", checkpointEvery);
      require("--keep", keep >= 1, "1 or more", keep);
      require("--sample-every", sampleEvery >= 0, "0 or more", sampleEvery);
      require("--log-every", logEvery >= 1, "1 or more", logEvery);
      require("--max-minutes", maxMinutes >= 0, "0 or more", maxMinutes);
      boolean reached = milestoneEvery >= 0 && milestoneEvery % checkpointEvery == 0;
      String multiple = "0 or a multiple of --checkpoint-every " + checkpointEvery;
      require("--milestone-every", reached, multiple, milestoneEvery);
    }
  }

  /** Checks every value. */
  public TrainOptions {
    require("--clip", clip >= 0 && Double.isFinite(clip), "0 or more", clip);
    require("--ema", ema >= 0 && ema < 1, "in [0, 1)", ema);
    require("--accumulate", accumulate >= 1 && accumulate <= 1 << 16, "1..65536", accumulate);
    require("--label-dropout", labelDropout >= 0 && labelDropout < 1, "in [0, 1)", labelDropout);
    require("--p-mean", Double.isFinite(timeMean), "a finite number", timeMean);
    require("--p-std", timeStd > 0 && Double.isFinite(timeStd), "above 0", timeStd);
  }

  private static void require(String flag, boolean holds, String expected, Object found) {
    if (!holds) {
      throw new IllegalArgumentException(flag + ": expected " + expected + ", found " + found);
    }
  }

  /** Steps of the whole training. */
  public long steps() {
    return learningRate.steps();
  }

  /**
   * Decay of the moving average after a step: {@link Ema#warm} with warm-up, and {@code ema}
   * without, as the authors have it.
   *
   * @param n steps done, from 1
   */
  public double emaDecay(long n) {
    return emaWarmup ? Ema.warm(ema, n) : ema;
  }

  /** The options that change the numbers, under the names of their flags. */
  public ObjectNode toNode() {
    return JsonNodeFactory.instance
        .objectNode()
        .put("steps", steps())
        .put("lr", learningRate.base())
        .put("lr-schedule", learningRate.schedule().key())
        .put("warmup", learningRate.warmup())
        .put("betas", adamW.beta1() + "," + adamW.beta2())
        .put("eps", adamW.eps())
        .put("weight-decay", adamW.weightDecay())
        .put("clip", clip)
        .put("ema", ema)
        .put("ema-warmup", emaWarmup)
        .put("accumulate", accumulate)
        .put("label-dropout", labelDropout)
        .put("p-mean", timeMean)
        .put("p-std", timeStd)
        .put("directional", loss.directional())
        .put("proj-coeff", loss.projCoeff())
        .put("seed", seed);
  }
}
