package io.nit.trainer.fused;

import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.Partition;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.FlatParameters;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;
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
 * <p>An optimizer that keeps a part of the moments changes that part of the weights, piece by
 * piece, and a piece goes to the other ranks while the next one is changed. Average and copy of
 * what comes from them follow in passes of their own. Of the gradients it needs that part alone, so
 * that their sums may have gone to the ranks that own them.
 */
public final class FusedUpdate {
  private static final double CLIP_EPS = 1e-6;
  private static final int PIECES = 4;

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
      AdamW.Part part = optimizer.part().orElseThrow();
      Tensor norm = norm(part);
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
      Optional<Tensor> averaged = average.map(a -> a.values().detach());
      try (PointerScope scope = new PointerScope()) {
        if (part.whole()) {
          update(part, part.from(), part.to(), averaged, scalars);
        } else {
          updatePart(part, averaged, scalars, towards.mul(good));
        }
      }
      return torch.stack(new TensorVector(norm, good));
    }
  }

  /** Of all gradients. A rank with a part of the moments has the sums of that part alone. */
  private Tensor norm(AdamW.Part part) {
    if (part.whole()) {
      return weights.gradients().norm();
    }
    Tensor own = weights.gradients().narrow(0, part.from(), part.to() - part.from());
    Tensor squares = own.norm().square();
    try {
      collectives.sum(List.of(squares));
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
    return squares.sqrt();
  }

  /**
   * Changes this rank's part and takes over what the others have changed, piece by piece.
   *
   * @param weight of the changed weights in the average
   */
  private void updatePart(
      AdamW.Part part, Optional<Tensor> averaged, Tensor scalars, Tensor weight) {
    Tensor values = weights.values().detach();
    int rank = collectives.ranks().rank();
    Partition parts = new Partition(values.numel(), collectives.ranks().worldSize());
    try {
      for (int piece = 0; piece < PIECES; piece++) {
        long from = parts.piece(rank, piece, PIECES);
        update(part, from, parts.piece(rank, piece + 1, PIECES), averaged, scalars);
        collectives.startGather(values, parts, piece, PIECES);
      }
      for (int piece = 0; piece < PIECES; piece++) {
        collectives.awaitGather(piece);
        for (int other = 0; other < parts.parts(); other++) {
          if (other != rank) {
            long from = parts.piece(other, piece, PIECES);
            follow(from, parts.piece(other, piece + 1, PIECES), values, averaged, weight);
          }
        }
      }
      collectives.awaitSums();
    } catch (IOException e) {
      throw new UncheckedIOException(e);
    }
  }

  /** Average and copy of elements {@code [from, to)}, which another rank has changed. */
  private void follow(long from, long to, Tensor values, Optional<Tensor> averaged, Tensor weight) {
    if (from < to) {
      Tensor changed = values.narrow(0, from, to - from);
      averaged.ifPresent(a -> a.narrow(0, from, to - from).lerp_(changed, weight));
      copy.ifPresent(c -> c.narrow(0, from, to - from).copy_(changed));
    }
  }

  /** Changes elements {@code [from, to)}, within the optimizer's part, with average and copy. */
  private void update(
      AdamW.Part part, long from, long to, Optional<Tensor> averaged, Tensor scalars) {
    if (from == to) {
      return;
    }
    long count = to - from;
    AdamW.Options options = optimizer.options();
    ops.update(
        new FusedOps.UpdateTensors(
            weights.values().detach().narrow(0, from, count),
            weights.gradients().narrow(0, from, count),
            part.expAvg().narrow(0, from - part.from(), count),
            part.expAvgSq().narrow(0, from - part.from(), count),
            averaged.map(a -> a.narrow(0, from, count)),
            copy.map(c -> c.narrow(0, from, count))),
        scalars,
        options.beta1(),
        options.beta2(),
        options.eps());
  }
}
