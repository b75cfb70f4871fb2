package io.nit.trainer.loop;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/**
 * Threads that compute the gradients of a step's shards side by side, each with libtorch on one
 * thread. On the CPU this is much faster than giving one graph several threads: those meet after
 * every operation, and on a machine that has other work to do they wait for each other most of the
 * time.
 */
public final class Workers implements AutoCloseable {
  private final int count;
  private final ExecutorService threads;

  /** {@code count} workers; with one, tasks run on the caller's thread. */
  public Workers(int count) {
    this.count = count;
    threads =
        Executors.newFixedThreadPool(
            count,
            task -> {
              Thread thread = new Thread(task, "shard-worker");
              thread.setDaemon(true);
              return thread;
            });
  }

  /** Threads. */
  public int count() {
    return count;
  }

  /** Runs all tasks; results in their order. All have ended when this returns or throws. */
  public <T> List<T> run(List<Callable<T>> tasks) {
    List<T> results = new ArrayList<>();
    try {
      if (count == 1) {
        for (Callable<T> task : tasks) {
          results.add(task.call());
        }
        return results;
      }
      for (Future<T> result : threads.invokeAll(tasks)) {
        results.add(result.get());
      }
      return results;
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IllegalStateException("interrupted while computing gradients", e);
    } catch (ExecutionException e) {
      throw unchecked(e.getCause());
    } catch (Exception e) {
      throw unchecked(e);
    }
  }

  private static RuntimeException unchecked(Throwable e) {
    if (e instanceof Error error) {
      throw error;
    }
    return e instanceof RuntimeException known ? known : new IllegalStateException(e);
  }

  /** Ends the threads. Safe to call twice. */
  @Override
  public void close() {
    threads.shutdown();
  }
}
