package io.nit.core.trt;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Errors of a library that tells them to one place for the whole process, for those of its callers
 * that ask why their call failed. What was told on a caller's own thread is that caller's alone.
 * What the library told on a thread of its own may be of any call and is every caller's, each time
 * once. Where neither has anything, the errors of other callers are all that may tell.
 */
final class ReportedErrors {
  /** Enough for the callers of a moment; older ones are forgotten. */
  private static final int KEPT = 256;

  private static final int LONGEST = 600;

  /** The first say why, the last what gave up at the end. */
  private static final int SHOWN = 8;

  /** An error, and whether it was told on a thread that asks for its own. */
  private record Told(long number, Thread thread, boolean asking, String text) {}

  private final Deque<Told> all = new ArrayDeque<>(); // guarded by this
  private final ThreadLocal<Long> asked = new ThreadLocal<>(); // the last number before its call
  private long last; // guarded by this

  /** Takes an error, on the thread that the library tells it on. */
  synchronized void add(String message) {
    if (all.size() == KEPT) {
      all.remove();
    }
    all.add(
        new Told(
            ++last,
            Thread.currentThread(),
            asked.get() != null,
            message.length() > LONGEST ? message.substring(0, LONGEST) + "…" : message));
  }

  /** Begins a call of this thread: what was told before is of something else. */
  synchronized void begin() {
    asked.set(last);
    all.removeIf(told -> told.thread == Thread.currentThread());
  }

  /** The errors since this thread last began or asked; empty if there are none. */
  synchronized List<String> take() {
    long since = asked.get() == null ? 0 : asked.get();
    List<String> own = new ArrayList<>();
    List<String> others = new ArrayList<>();
    for (Told told : all) {
      if (told.thread == Thread.currentThread() || told.number > since && !told.asking) {
        own.add(told.text);
      } else if (told.number > since) {
        others.add(told.text);
      }
    }
    begin();
    List<String> found = own.isEmpty() ? others : own;
    if (found.size() <= SHOWN) {
      return found;
    }
    List<String> shown = new ArrayList<>(found.subList(0, SHOWN - 1));
    shown.add(found.get(found.size() - 1));
    return shown;
  }
}
