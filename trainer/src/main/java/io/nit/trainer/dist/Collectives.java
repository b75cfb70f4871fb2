package io.nit.trainer.dist;

import java.io.IOException;
import java.util.Collection;
import org.bytedeco.pytorch.Tensor;

/**
 * What processes that train together compute together. Every rank calls the same methods in the
 * same order, with tensors of the same shapes. Sums have one order, rank after rank, so that every
 * rank has the same bits.
 *
 * <p>Every method waits for all ranks, and throws {@link RankLostException} when one of them is
 * gone.
 */
public interface Collectives extends AutoCloseable {
  /** Who this process is. */
  Ranks ranks();

  /**
   * Every tensor becomes the sum of all ranks' ones, in place.
   *
   * @param tensors contiguous float32 on the CPU
   */
  void sum(Collection<Tensor> tensors) throws IOException;

  /** Every value becomes the sum of all ranks' ones, in place. */
  void sum(double[] values) throws IOException;

  /**
   * Every tensor becomes rank 0's, in place.
   *
   * @param tensors contiguous float32 on the CPU
   */
  void fromFirst(Collection<Tensor> tensors) throws IOException;

  /** Leaves the group. Safe to call twice. */
  @Override
  void close();

  /** One process, whose sums are its own values. */
  static Collectives alone() {
    return new Collectives() {
      @Override
      public Ranks ranks() {
        return Ranks.alone();
      }

      @Override
      public void sum(Collection<Tensor> tensors) {}

      @Override
      public void sum(double[] values) {}

      @Override
      public void fromFirst(Collection<Tensor> tensors) {}

      @Override
      public void close() {}
    };
  }
}
