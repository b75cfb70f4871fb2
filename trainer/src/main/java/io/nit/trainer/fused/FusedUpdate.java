package io.nit.trainer.fused;

import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.FlatParameters;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * What changes the weights after a backward: the gradients' norm, clipping by it, AdamW, the moving
 * average and the weights' copy. A step whose loss or norm is not finite changes nothing; the
 * device finds that out by itself, and the host reads it when it likes.
 */
public final class FusedUpdate {
  private static final double CLIP_EPS = 1e-6;

  private final FlatParameters weights;
  private final Optional<FlatParameters> average;
  private final AdamW optimizer;
  private final Optional<Tensor> copy;
  private final FusedOps ops;

  /**
   * An update of parameters that lie in one tensor; all of it stays the caller's.
   *
   * @param average their moving average, if there is one
   * @param optimizer made of {@code weights}
   * @param copy the weights in the compute type, see {@link FusedNit#copy}
   */
  public FusedUpdate(
      FlatParameters weights,
      Optional<FlatParameters> average,
      AdamW optimizer,
      Optional<Tensor> copy,
      FusedOps ops) {
    this.weights = weights;
    this.average = average;
    this.optimizer = optimizer;
    this.copy = copy;
    this.ops = ops;
  }

  /**
   * Takes a step along the gradients.
   *
   * @param rate learning rate
   * @param clip largest norm of all gradients together; 0 for no bound
   * @param decay of the average, in [0, 1)
   * @param loss the step's loss, float32 scalar on the device
   * @return float32 [2] on the device: the gradients' norm, and 1 if the step was taken, else 0;
   *     belongs to the open {@code PointerScope}
   */
  public Tensor step(double rate, double clip, double decay, Tensor loss) {
    try (NoGradGuard guard = new NoGradGuard()) {
      Tensor norm = weights.gradients().norm();
      Tensor good = norm.isfinite().logical_and(loss.isfinite()).to(ScalarType.Float);
      Tensor factor =
          clip > 0
              ? norm.add(new Scalar(CLIP_EPS))
                  .reciprocal()
                  .mul(new Scalar(clip))
                  .clamp_max(new Scalar(1f))
              : torch.ones_like(norm);
      Tensor towards = torch.full_like(norm, new Scalar(1 - decay));
      Tensor scalars =
          torch.cat(
              new TensorVector(
                  torch.stack(new TensorVector(factor, good)),
                  optimizer.advance(rate, good),
                  towards.view(1)));
      AdamW.Options options = optimizer.options();
      try (PointerScope scope = new PointerScope()) {
        ops.update(
            new FusedOps.UpdateTensors(
                weights.values().detach(),
                weights.gradients(),
                optimizer.flatExpAvg(),
                optimizer.flatExpAvgSq(),
                average.map(a -> a.values().detach()),
                copy),
            scalars,
            options.beta1(),
            options.beta2(),
            options.eps());
      }
      return torch.stack(new TensorVector(norm, good));
    }
  }
}
