package io.nit.core.trt;

import io.nit.core.io.Closing;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.ThreadFactory;
import java.util.function.Consumer;

/** Work on several threads at once. */
public final class Together {
  private Together() {}

  /** A piece of work. */
  public interface Task<T> {
    /** Does it, on a thread that has no current device yet. */
    T run() throws IOException, TensorRtException;
  }

  /**
   * Does all work, each piece on a thread of its own, and waits for the last. Where there is no
   * thread for a piece, those before it are still waited for.
   *
   * @param undo takes what was made where another piece fails; what it throws is suppressed
   * @return what was made, in the order of the tasks
   * @throws IOException the first failure, with the later ones as suppressed
   * @throws TensorRtException the first failure, with the later ones as suppressed
   */
  public static <T> List<T> run(List<Task<T>> tasks, Consumer<T> undo)
      throws IOException, TensorRtException {
    return run(
        tasks,
        undo,
        task -> {
          Thread thread = new Thread(task, "tensorrt-open");
          thread.setDaemon(true);
          return thread;
        });
  }

  /** The same on threads of another make. */
  static <T> List<T> run(List<Task<T>> tasks, Consumer<T> undo, ThreadFactory make)
      throws IOException, TensorRtException {
    ExecutorService threads = Executors.newFixedThreadPool(tasks.size(), make);
    List<T> made = new ArrayList<>();
    Throwable failure = null;
    boolean interrupted = false;
    try {
      List<Future<T>> running = new ArrayList<>();
      try {
        for (Task<T> task : tasks) {
          running.add(threads.submit(task::run));
        }
      } catch (RuntimeException | Error e) { // no thread left, which is an OutOfMemoryError
        failure = e;
      }
      for (Future<T> one : running) {
        try {
          while (true) {
            try {
              made.add(one.get());
              break;
            } catch (InterruptedException e) {
              interrupted = true; // native work cannot be stopped, and is undone by nobody else
            }
          }
        } catch (ExecutionException e) {
          failure = Closing.joined(failure, e.getCause());
        }
      }
    } finally {
      threads.shutdown();
      if (interrupted) {
        Thread.currentThread().interrupt();
      }
    }
    if (failure == null) {
      return made;
    }
    for (T one : made) {
      Closing.after(failure, () -> undo.accept(one));
    }
    if (failure instanceof IOException e) {
      throw e;
    }
    if (failure instanceof TensorRtException e) {
      throw e;
    }
    if (failure instanceof Error e) {
      throw e;
    }
    throw (RuntimeException) failure;
  }
}
