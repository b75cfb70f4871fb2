package io.nit.trainer.loop;

import java.util.ArrayDeque;
import java.util.Deque;

/** Tokens a second over the last steps, of all processes together. */
public final class Throughput {
  private static final int MOST_STEPS = 100;

  private final Deque<Step> last = new ArrayDeque<>();

  /** When a step was done, and what it took. */
  private record Step(long nanos, long tokens) {}

  /** Counts a step that is done now; the first one only begins the count. */
  void add(long tokens) {
    add(System.nanoTime(), tokens);
  }

  void add(long nanos, long tokens) {
    last.addLast(new Step(nanos, tokens));
    if (last.size() > MOST_STEPS + 1) {
      last.removeFirst();
    }
  }

  /** Steps that {@link #tokensPerSecond} is of. */
  public int steps() {
    return Math.max(0, last.size() - 1);
  }

  /** The mean; NaN before two steps are done. */
  public double tokensPerSecond() {
    if (steps() == 0) {
      return Double.NaN;
    }
    long tokens = last.stream().skip(1).mapToLong(Step::tokens).sum();
    return tokens * 1e9 / Math.max(1, last.getLast().nanos - last.getFirst().nanos);
  }
}
