package io.nit.trainer.dist;

import java.io.IOException;
import java.time.Duration;
import java.util.Collection;
import java.util.List;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/**
 * What processes that train together compute together. Every rank calls the same methods in the
 * same order, with tensors of the same shapes: contiguous float32 on the device that the group was
 * made for. Every rank gets the same bits.
 *
 * <p>Every method waits for all ranks, on the CPU by itself and on a GPU in the order of the
 * current stream, and throws {@link RankLostException} when one of them is gone.
 */
public interface Collectives extends AutoCloseable {
  /**
   * What the sums have cost a GPU.
   *
   * @param waited seconds in which its own work stood still for them
   * @param busy seconds from the begin of each of them on the GPU to its end; it begins when this
   *     rank has its values, so that the others' delay counts too
   */
  record Times(double waited, double busy) {}

  /** Who this process is. */
  Ranks ranks();

  /** What is known by now and was not told before; empty where it is not measured. */
  default Optional<Times> takeTimes() throws IOException {
    return Optional.empty();
  }

  /**
   * Multiprocessors of this rank's GPU that sums beside other work take at most; 0 if that is not
   * known.
   */
  default int multiprocessors() {
    return 0;
  }

  /** Every tensor becomes the sum of all ranks' ones, in place. */
  default void sum(Collection<Tensor> tensors) throws IOException {
    startSum(tensors);
    awaitSums();
  }

  /**
   * Begins what {@link #sum(Collection)} does; where there is a stream for it, beside the work that
   * follows. The tensors must live, and not be touched, until {@link #awaitSums}.
   */
  void startSum(Collection<Tensor> tensors) throws IOException;

  /**
   * Begins what {@link #startSum(Collection)} does for tensors whose sums one rank needs: half the
   * way of a sum that everyone gets. The other ranks keep what they gave, or get the sum too.
   *
   * @param owner the rank that needs them
   */
  default void startSum(Collection<Tensor> tensors, int owner) throws IOException {
    startSum(tensors);
  }

  /** What follows on the current stream sees the sums that were begun. */
  void awaitSums() throws IOException;

  /**
   * Every value becomes the sum of all ranks' ones, in place. Waits for the ranks' host threads.
   */
  void sum(double[] values) throws IOException;

  /** Every tensor becomes that of rank {@code root}, in place. */
  void from(int root, Collection<Tensor> tensors) throws IOException;

  /**
   * Takes the memory that gatherings need, which the first of them does otherwise: before the
   * steps, while there is some, and not within one. All ranks call it.
   */
  default void prepareGathers() throws IOException {}

  /**
   * Every rank's own part of a tensor becomes everyone's.
   *
   * @param whole [parts.elements()]; its part of this rank is what the others get
   * @param parts one for every rank
   */
  default void gather(Tensor whole, Partition parts) throws IOException {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      for (int rank = 0; rank < parts.parts(); rank++) {
        long from = parts.from(rank);
        from(rank, List.of(whole.narrow(0, from, parts.to(rank) - from)));
      }
    }
  }

  /**
   * Begins what {@link #gather} does for one piece of every part; where there is a stream for it,
   * beside the work that follows. The piece must not be touched until {@link #awaitGather} or
   * {@link #awaitSums}.
   *
   * @param piece 0..pieces-1
   */
  default void startGather(Tensor whole, Partition parts, int piece, int pieces)
      throws IOException {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      for (int rank = 0; rank < parts.parts(); rank++) {
        long from = parts.piece(rank, piece, pieces);
        long to = parts.piece(rank, piece + 1, pieces);
        if (from < to) {
          from(rank, List.of(whole.narrow(0, from, to - from)));
        }
      }
    }
  }

  /**
   * What follows on the current stream sees the piece whose gathering was begun last under this
   * number, and may not see those that were begun later.
   */
  default void awaitGather(int piece) throws IOException {
    awaitSums();
  }

  /**
   * Throws if a rank is known to be gone. A GPU's sums are worth nothing then, so whoever writes
   * what came of them asks first.
   */
  default void requireAll() throws RankLostException {}

  /** Waits until all ranks have come to their ends; none of them is missed from then on. */
  default void leave() throws IOException {}

  /** Leaves the group. Safe to call twice. */
  @Override
  void close();

  /**
   * Meets the other processes: over NCCL on GPUs, else over TCP.
   *
   * @param device what this process computes on, on CUDA with its index
   * @param patience how long to wait for all of them
   * @throws IOException if they do not come
   */
  static Collectives meet(Ranks ranks, Device device, Duration patience) throws IOException {
    if (ranks.worldSize() == 1) {
      return alone();
    }
    return device.is_cuda()
        ? NcclCollectives.meet(ranks, device, patience)
        : SocketCollectives.meet(ranks, patience);
  }

  /** One process, whose sums are its own values. */
  static Collectives alone() {
    return new Collectives() {
      @Override
      public Ranks ranks() {
        return Ranks.alone();
      }

      @Override
      public void startSum(Collection<Tensor> tensors) {}

      @Override
      public void awaitSums() {}

      @Override
      public void sum(double[] values) {}

      @Override
      public void from(int root, Collection<Tensor> tensors) {}

      @Override
      public void close() {}
    };
  }
}
