package io.nit.trainer.data;

import io.nit.core.flow.Philox;
import java.io.IOException;
import java.util.function.LongFunction;

/**
 * Reads a run's packs ahead of the training loop, and prepares them for it: a {@link Prefetcher}
 * over a data set.
 *
 * @param <T> a prepared pack
 */
public final class PrefetchingLoader<T> implements AutoCloseable {
  private final Prefetcher<T> packs;
  private long waited;

  /**
   * What the loop takes of a pack.
   *
   * @param <T> a prepared pack
   */
  @FunctionalInterface
  public interface Preparation<T> {
    /** Prepares the pack of a place of the run; called on worker threads. */
    T prepare(TrainingPack pack, long place) throws IOException;
  }

  /**
   * Starts reading.
   *
   * @param data read by all threads; stays the caller's, who closes it after this loader
   * @param order which pack comes at which place
   * @param start first place, as after a resume
   * @param choices the mirroring choices of a place; called on worker threads
   * @param preparation what {@link #next} gives of a pack
   * @param workers threads, 1 or more
   * @param ahead packs that are read before they are asked for, 1 or more
   */
  public PrefetchingLoader(
      TrainingData data,
      PackOrder order,
      long start,
      LongFunction<Philox> choices,
      Preparation<T> preparation,
      int workers,
      int ahead) {
    packs =
        new Prefetcher<>(
            place -> preparation.prepare(data.load(order.pack(place), choices.apply(place)), place),
            start,
            workers,
            ahead);
  }

  /**
   * The next pack of the run; waits until it is ready.
   *
   * @throws IOException if it cannot be read, or this thread is interrupted while waiting
   * @throws IllegalStateException after {@link #close}
   */
  public T next() throws IOException {
    long since = System.nanoTime();
    T pack = packs.next();
    waited += System.nanoTime() - since;
    return pack;
  }

  /** Nanoseconds that {@link #next} has waited since this was asked last. */
  public long takeWaited() {
    long nanos = waited;
    waited = 0;
    return nanos;
  }

  /** Stops the threads and waits for them to leave the data set. Safe to call twice. */
  @Override
  public void close() {
    packs.close();
  }
}
