package io.nit.trainer.reconstruction;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.config.DcAeConfig;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.loop.TrainOptions;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.LearningRate;
import java.util.Locale;

/**
 * How an autoencoder's training runs.
 *
 * @param learningRate rate by step, and the number of steps
 * @param adamW the optimizer's constants
 * @param clip largest norm of all gradients together; 0 for no bound
 * @param ema decay of the moving average, which rises to that as {@link Ema#warm} says
 * @param batch crops of a step
 * @param crop pixels of a crop's side
 * @param loss the loss' terms
 * @param precision what activations are computed in; weights are float32 always
 * @param seed key of every random stream
 * @param pace what happens how often
 */
public record ReconstructionOptions(
    LearningRate learningRate,
    AdamW.Options adamW,
    double clip,
    double ema,
    int batch,
    int crop,
    ReconstructionLoss loss,
    Precision precision,
    long seed,
    TrainOptions.Pace pace) {
  /** Below it SSIM's window does not fit, nor the coarsest gradients. */
  private static final int SMALLEST_CROP = 16;

  /** Checks every value. */
  public ReconstructionOptions {
    require("--clip", clip >= 0 && Double.isFinite(clip), "0 or more", clip);
    require("--ema", ema >= 0 && ema < 1, "in [0, 1)", ema);
    require("--batch", batch >= 1 && batch <= 1 << 16, "1..65536", batch);
    require("--crop", crop >= SMALLEST_CROP && crop <= 4096, SMALLEST_CROP + "..4096", crop);
    require(
        "--batch, --crop",
        3L * batch * crop * crop <= Integer.MAX_VALUE,
        "at most 2 GiB of pixels a step",
        batch + " crops of " + crop + "x" + crop);
    require(
        "--precision",
        precision != Precision.F16,
        "auto, f32 or bf16 (" + Precision.F16_REASON + ")",
        "f16");
  }

  /**
   * Checks that a network can be trained so.
   *
   * @throws IllegalArgumentException if the crop is no multiple of its factor, or if it has batch
   *     norms
   */
  public void require(DcAeConfig config) {
    require(
        "--crop",
        crop % config.factor() == 0,
        "a multiple of " + config.factor() + ", the config's factor",
        crop);
    require(
        "decoder_norm_types",
        !config.hasBatchNorm(),
        "rms_norm in every stage (the statistics of a batch norm are a checkpoint's, and would stay"
            + " as they are while the weights before them change)",
        "batch_norm");
  }

  private static void require(String flag, boolean holds, String expected, Object found) {
    if (!holds) {
      throw new IllegalArgumentException(flag + ": expected " + expected + ", found " + found);
    }
  }

  /** Decay of the moving average after step {@code n}, counted from 1. */
  double emaDecay(long n) {
    return Ema.warm(ema, n);
  }

  /** The options that change the numbers, under the names of their flags. */
  public ObjectNode toNode() {
    return JsonNodeFactory.instance
        .objectNode()
        .put("steps", learningRate.steps())
        .put("batch", batch)
        .put("crop", crop)
        .put("lr", learningRate.base())
        .put("lr-schedule", learningRate.schedule().key())
        .put("warmup", learningRate.warmup())
        .put("betas", adamW.beta1() + "," + adamW.beta2())
        .put("eps", adamW.eps())
        .put("weight-decay", adamW.weightDecay())
        .put("clip", clip)
        .put("ema", ema)
        .put("l1", loss.l1())
        .put("gradient", loss.gradient())
        .put("ssim", loss.ssim())
        .put("precision", precision.name().toLowerCase(Locale.ROOT))
        .put("seed", seed);
  }
}
