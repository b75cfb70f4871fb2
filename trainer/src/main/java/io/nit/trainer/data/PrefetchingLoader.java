package io.nit.trainer.data;

import io.nit.core.flow.Philox;
import java.io.IOException;
import java.util.function.LongFunction;

/** Reads a run's packs ahead of the training loop: a {@link Prefetcher} over a data set. */
public final class PrefetchingLoader implements AutoCloseable {
  private final Prefetcher<TrainingPack> packs;

  /**
   * Starts reading.
   *
   * @param data read by all threads; stays the caller's, who closes it after this loader
   * @param order which pack comes at which place
   * @param start first place, as after a resume
   * @param choices the mirroring choices of a place; called on worker threads
   * @param workers threads, 1 or more
   * @param ahead packs that are read before they are asked for, 1 or more
   */
  public PrefetchingLoader(
      TrainingData data,
      PackOrder order,
      long start,
      LongFunction<Philox> choices,
      int workers,
      int ahead) {
    packs =
        new Prefetcher<>(
            place -> data.load(order.pack(place), choices.apply(place)), start, workers, ahead);
  }

  /**
   * The next pack of the run; waits until it is read.
   *
   * @throws IOException if it cannot be read, or this thread is interrupted while waiting
   * @throws IllegalStateException after {@link #close}
   */
  public TrainingPack next() throws IOException {
    return packs.next();
  }

  /** Stops the threads and waits for them to leave the data set. Safe to call twice. */
  @Override
  public void close() {
    packs.close();
  }
}
