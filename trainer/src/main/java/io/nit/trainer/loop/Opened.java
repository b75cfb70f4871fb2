package io.nit.trainer.loop;

import java.util.ArrayDeque;
import java.util.Deque;

/**
 * What a trainer has opened, for its end or for a start that fails half-way: closed in the reverse
 * order. Safe to close twice.
 */
public final class Opened implements AutoCloseable {
  private final Deque<AutoCloseable> all = new ArrayDeque<>();

  /** Nothing yet. */
  public Opened() {}

  /**
   * Takes one over.
   *
   * @param one whose close throws nothing
   * @return the same
   */
  public <T extends AutoCloseable> T add(T one) {
    all.push(one);
    return one;
  }

  @Override
  public void close() {
    while (!all.isEmpty()) {
      try {
        all.pop().close();
      } catch (Exception e) {
        throw new IllegalStateException(e); // none of them throws
      }
    }
  }
}
