package io.nit.trainer.data;

import io.nit.core.flow.Philox;
import java.io.IOException;
import java.io.InterruptedIOException;
import java.util.ArrayDeque;
import java.util.Deque;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.LongFunction;

/**
 * Reads a run's packs ahead of the training loop on its own threads. Packs come in the run's order
 * whatever thread finishes first, and no more than {@code ahead} of them wait in memory. A pack
 * that fails to load fails in the {@link #next} that would have given it. For one consuming thread.
 */
public final class PrefetchingLoader implements AutoCloseable {
  private static final AtomicInteger THREADS = new AtomicInteger();

  private final TrainingData data;
  private final PackOrder order;
  private final LongFunction<Philox> choices;
  private final ExecutorService workers;
  private final Deque<Future<TrainingPack>> ahead = new ArrayDeque<>();
  private long nextToSubmit;
  private boolean closed;

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
    if (workers < 1 || ahead < 1 || start < 0) {
      throw new IllegalArgumentException(
          "prefetching: expected workers and packs ahead of 1 or more and a start of 0 or more, found "
              + workers
              + ", "
              + ahead
              + " and "
              + start);
    }
    this.data = data;
    this.order = order;
    this.choices = choices;
    this.nextToSubmit = start;
    this.workers =
        Executors.newFixedThreadPool(
            workers,
            task -> {
              Thread thread = new Thread(task, "pack-loader-" + THREADS.incrementAndGet());
              thread.setDaemon(true);
              return thread;
            });
    for (int i = 0; i < ahead; i++) {
      submit();
    }
  }

  private void submit() {
    long place = nextToSubmit++;
    ahead.addLast(workers.submit(() -> data.load(order.pack(place), choices.apply(place))));
  }

  /**
   * The next pack of the run; waits until it is read.
   *
   * @throws IOException if it cannot be read, or this thread is interrupted while waiting
   * @throws IllegalStateException after {@link #close}
   */
  public TrainingPack next() throws IOException {
    if (closed) {
      throw new IllegalStateException("PrefetchingLoader is closed");
    }
    Future<TrainingPack> head = ahead.removeFirst();
    submit();
    try {
      return head.get();
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw (IOException) new InterruptedIOException("interrupted while reading data").initCause(e);
    } catch (ExecutionException e) {
      Throwable cause = e.getCause();
      if (cause instanceof IOException io) {
        throw io;
      }
      if (cause instanceof RuntimeException unchecked) {
        throw unchecked;
      }
      if (cause instanceof Error error) {
        throw error;
      }
      throw new IOException(cause);
    }
  }

  /** Stops the threads and waits for them to leave the data set. Safe to call twice. */
  @Override
  public void close() {
    if (closed) {
      return;
    }
    closed = true;
    workers.shutdownNow();
    ahead.forEach(pack -> pack.cancel(true));
    ahead.clear();
    try {
      workers.awaitTermination(10, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
  }
}
