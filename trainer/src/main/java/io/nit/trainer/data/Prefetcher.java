package io.nit.trainer.data;

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
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Reads what a run trains on ahead of the training loop on its own threads. Batches come in the
 * run's order whatever thread finishes first, and no more than {@code ahead} of them wait in
 * memory. A batch that fails to load fails in the {@link #next} that would have given it. Batches
 * that are AutoCloseable belong to whoever takes them; those that nobody took are closed with this.
 * For one consuming thread.
 *
 * @param <T> a batch
 */
public final class Prefetcher<T> implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Prefetcher.class);
  private static final AtomicInteger THREADS = new AtomicInteger();

  private final Source<T> source;
  private final ExecutorService workers;
  private final Deque<Future<T>> ahead = new ArrayDeque<>();
  private long nextToSubmit;
  private boolean closed;

  /**
   * Where batches come from.
   *
   * @param <T> a batch
   */
  @FunctionalInterface
  public interface Source<T> {
    /** The batch of a place in the run, counted from 0; called on worker threads. */
    T load(long place) throws IOException;
  }

  /**
   * Starts reading.
   *
   * @param source read by all threads
   * @param start first place, as after a resume
   * @param workers threads, 1 or more
   * @param ahead batches that are read before they are asked for, 1 or more
   */
  public Prefetcher(Source<T> source, long start, int workers, int ahead) {
    if (workers < 1 || ahead < 1 || start < 0) {
      throw new IllegalArgumentException(
          "prefetching: expected workers and packs ahead of 1 or more and a start of 0 or more, found "
              + workers
              + ", "
              + ahead
              + " and "
              + start);
    }
    this.source = source;
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
    ahead.addLast(workers.submit(() -> source.load(place)));
  }

  /**
   * The next batch of the run; waits until it is read.
   *
   * @throws IOException if it cannot be read, or this thread is interrupted while waiting
   * @throws IllegalStateException after {@link #close}
   */
  public T next() throws IOException {
    if (closed) {
      throw new IllegalStateException("Prefetcher is closed");
    }
    Future<T> head = ahead.removeFirst();
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
    try {
      workers.awaitTermination(10, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
    }
    ahead.forEach(Prefetcher::discard);
    ahead.clear();
  }

  /** Closes a batch that nobody takes, where it is one that has to be. */
  private static void discard(Future<?> batch) {
    if (!batch.isDone()) {
      batch.cancel(true);
      return;
    }
    try {
      if (batch.get() instanceof AutoCloseable owner) {
        owner.close();
      }
    } catch (Exception e) {
      // It failed to load, and nobody asked for it.
      LOG.debug("a batch that was not taken: {}", e.getMessage());
    }
  }
}
