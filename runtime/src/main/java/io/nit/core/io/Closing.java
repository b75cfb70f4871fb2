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
        first = joined(first, e);
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
      joined(failure, e);
    }
  }

  /**
   * Closes what may have been opened before a failure, which is what its thrower is told.
   *
   * @param failure takes what closing throws as suppressed
   * @param owner null if it was not opened
   */
  public static void ownerAfter(Throwable failure, AutoCloseable owner) {
    if (owner == null) {
      return;
    }
    try {
      owner.close();
    } catch (Exception | Error e) {
      joined(failure, e);
    }
  }

  /**
   * One failure of two.
   *
   * @param first null if there was none before
   * @return the first, with the next as suppressed; the next if there is no first
   */
  public static Throwable joined(Throwable first, Throwable next) {
    if (first == null) {
      return next;
    }
    if (first != next) { // which Java refuses
      first.addSuppressed(next);
    }
    return first;
  }
}
