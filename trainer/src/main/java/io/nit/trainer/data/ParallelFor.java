package io.nit.trainer.data;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;

/** A loop over 0..count-1 on several threads. */
final class ParallelFor {
  private ParallelFor() {}

  /** One turn of the loop. */
  interface Body {
    void run(int index) throws IOException;
  }

  /**
   * Runs all turns and returns when they are done. The first failure ends the loop and is thrown,
   * once no turn is under way any more: what turns work with may be closed then.
   *
   * @throws CancellationException if {@code stop} was requested before the end; turns under way are
   *     finished first
   */
  static void run(int count, int workers, StopSignal stop, Progress progress, Body body)
      throws IOException {
    AtomicInteger next = new AtomicInteger();
    AtomicInteger done = new AtomicInteger();
    AtomicBoolean failed = new AtomicBoolean();
    ExecutorService pool = Executors.newFixedThreadPool(Math.max(1, Math.min(workers, count)));
    List<Future<?>> all = new ArrayList<>();
    for (int w = 0; w < Math.min(workers, count); w++) {
      all.add(
          pool.submit(
              () -> {
                try {
                  for (int i = next.getAndIncrement();
                      i < count && !stop.requested() && !failed.get();
                      i = next.getAndIncrement()) {
                    body.run(i);
                    done.incrementAndGet();
                    progress.step(1);
                  }
                  return null;
                } catch (Throwable e) {
                  failed.set(true);
                  throw e;
                }
              }));
    }
    pool.shutdown();
    try {
      for (Future<?> worker : all) {
        await(worker);
      }
    } catch (CancellationException e) {
      failed.set(true);
      throw new CancellationException("interrupted after " + done + " of " + count + " images");
    } finally {
      awaitEnd(pool);
    }
    if (done.get() < count) {
      throw new CancellationException("stopped after " + done + " of " + count + " images");
    }
  }

  /** Waits for turns under way, through interruptions too. */
  private static void awaitEnd(ExecutorService pool) {
    boolean interrupted = false;
    while (!pool.isTerminated()) {
      try {
        pool.awaitTermination(1, TimeUnit.MINUTES);
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
  }

  /**
   * A task's result; its failure is thrown as it was.
   *
   * @throws CancellationException if this thread is interrupted
   * @throws IOException the task's
   */
  static <T> T await(Future<T> task) throws IOException {
    try {
      return task.get();
    } catch (ExecutionException e) {
      if (e.getCause() instanceof IOException io) {
        throw io;
      }
      if (e.getCause() instanceof RuntimeException unchecked) {
        throw unchecked;
      }
      throw (Error) e.getCause(); // a task throws nothing else
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new CancellationException("interrupted");
    }
  }
}
