package io.nit.core.io;

import java.util.List;

/** Closes several owners, each also where another does not close. */
public final class Closing {
  private Closing() {}

  /** Closes one of them. */
  @FunctionalInterface
  public interface Closer<T, E extends Exception> {
    /** Closes {@code owner}. */
    void close(T owner) throws E;
  }

  /**
   * Does all of these, in their order.
   *
   * @throws RuntimeException the first that one throws, or Error, with the later ones as suppressed
   */
  public static void all(Runnable... closes) {
    each(List.of(closes), Runnable::run);
  }

  /**
   * Closes all of these, in their order.
   *
   * @throws E the first that one throws, or RuntimeException or Error, with the later ones as
   *     suppressed
   */
  public static <T, E extends Exception> void each(
      Iterable<? extends T> owners, Closer<? super T, E> closer) throws E {
    Throwable first = null;
    for (T owner : owners) {
      try {
        closer.close(owner);
      } catch (Exception | Error e) {
        if (first == null) {
          first = e;
        } else if (first != e) { // which Java refuses
          first.addSuppressed(e);
        }
      }
    }
    if (first instanceof Error e) {
      throw e;
    }
    if (first instanceof RuntimeException e) {
      throw e;
    }
    if (first != null) {
      @SuppressWarnings("unchecked") // what else a closer throws is an E
      E checked = (E) first;
      throw checked;
    }
  }

  /**
   * Does all of these after a failure, which is what its thrower is told.
   *
   * @param failure takes what they throw as suppressed
   */
  public static void after(Throwable failure, Runnable... closes) {
    try {
      all(closes);
    } catch (RuntimeException | Error e) {
      if (failure != e) {
        failure.addSuppressed(e);
      }
    }
  }
}
