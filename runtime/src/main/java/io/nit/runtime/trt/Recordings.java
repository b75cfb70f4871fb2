package io.nit.runtime.trt;

import java.nio.file.Path;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Whether an engine records sizes as CUDA graphs at the moment. A recording that fails, as for want
 * of memory, ends that for a number of calls, after which the next size that comes again is tried,
 * and for twice as many each time that fails too. Calls run without graphs meanwhile. Works under
 * its owner's lock.
 */
final class Recordings {
  /** Calls that go by after a failure before the next recording. */
  static final int FIRST_PAUSE = 512;

  /** Calls that go by at most. */
  static final int LONGEST_PAUSE = 1 << 16;

  private static final Logger LOG = LoggerFactory.getLogger(Recordings.class);

  private final Path file;
  private final boolean wanted;
  private int pause; // calls until the next may be tried
  private int failures; // in a row

  /**
   * Of an engine, on.
   *
   * @param file the plan, for the log
   * @param wanted whether graphs are wanted at all
   */
  Recordings(Path file, boolean wanted) {
    this.file = file;
    this.wanted = wanted;
  }

  /** Counts a call of the engine. */
  void called() {
    if (pause > 0) {
      pause--;
    }
  }

  /** Whether a size may be recorded now. */
  boolean on() {
    return wanted && pause == 0;
  }

  /** Ends a pause: what is recorded was asked for. */
  void again() {
    pause = 0;
  }

  /** A size was recorded. */
  void recorded() {
    if (failures > 0) {
      LOG.info("{}: CUDA graphs are on again", file);
    }
    failures = 0;
  }

  /** A size could not be recorded; it runs without. */
  void failed(String why) {
    pause = Math.min(LONGEST_PAUSE, FIRST_PAUSE << Math.min(failures, 16));
    if (failures++ == 0) {
      LOG.warn("{}: CUDA graphs are off, the next is tried after {} calls: {}", file, pause, why);
    } else {
      LOG.debug("{}: CUDA graphs stay off for {} calls: {}", file, pause, why);
    }
  }
}
