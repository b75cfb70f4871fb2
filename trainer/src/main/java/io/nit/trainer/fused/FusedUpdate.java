package io.nit.trainer.fused;

import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.Partition;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.FlatParameters;
import java.io.IOException;
import java.io.UncheckedIOException;
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
 *
 * <p>An optimizer that keeps a part of the moments changes that part of the weights; the ranks then
 * gather the whole, and average and copy follow in passes of their own.
 */
public final class FusedUpdate {
  private static final double CLIP_EPS = 1e-6;

  private final FlatParameters weights;
  private final Optional<FlatParameters> average;
  private final AdamW optimizer;
  private final Optional<Tensor> copy;
  private final FusedOps ops;
  private final Collectives collectives;

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
    this(weights, average, optimizer, copy, ops, Collectives.alone());
  }

  /**
   * An update by one of several processes, whose gradients are the sums of all.
   *
   * @param collectives the processes; stays the caller's
   */
  public FusedUpdate(
      FlatParameters weights,
      Optional<FlatParameters> average,
      AdamW optimizer,
      Optional<Tensor> copy,
      FusedOps ops,
      Collectives collectives) {
    this.collectives = collectives;
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
   * @throws UncheckedIOException if a process is gone
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
      AdamW.Part part = optimizer.part().orElseThrow();
      Tensor values = weights.values().detach();
      Optional<Tensor> averaged = average.map(a -> a.values().detach());
      try (PointerScope scope = new PointerScope()) {
        if (part.whole()) {
          update(part, values, weights.gradients(), averaged, copy, scalars);
        } else {
          long from = part.from();
          long count = part.to() - from;
          update(
              part,
              values.narrow(0, from, count),
              weights.gradients().narrow(0, from, count),
              Optional.empty(),
              Optional.empty(),
              scalars);
          int world = collectives.ranks().worldSize();
          gather(values, new Partition(values.numel(), world));
          averaged.ifPresent(a -> a.lerp_(values, towards.mul(good)));
          copy.ifPresent(c -> c.copy_(values));
        }
      }
      return torch.stack(new TensorVector(norm, good));
    }
  }

  private void gather(Tensor values, Partition parts) {
    try {
      collectives.gather(values, parts);
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  private void update(
      AdamW.Part part,
      Tensor values,
      Tensor gradients,
      Optional<Tensor> averaged,
      Optional<Tensor> rounded,
      Tensor scalars) {
    AdamW.Options options = optimizer.options();
    ops.update(
        new FusedOps.UpdateTensors(
            values, gradients, part.expAvg(), part.expAvgSq(), averaged, rounded),
        scalars,
        options.beta1(),
        options.beta2(),
        options.eps());
  }
}
