package io.nit.exporter.trt;

import io.nit.core.cuda.BuildMonitor;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Says now and then how far a build is, while it runs: the share of TensorRT's steps and the phase
 * where there is a {@link BuildMonitor}, and always the time that has passed.
 */
final class BuildClock implements AutoCloseable {
  private static final long FIRST_MILLIS = 5_000;
  private static final long EVERY_MILLIS = 15_000;

  /** Below it a guess of the time left is worth nothing. */
  private static final double LEAST_SHARE = 0.05;

  private final Optional<BuildMonitor> monitor;
  private double lastShare; // on the clock's thread
  private final long start = System.nanoTime();
  private final ScheduledExecutorService clock =
      new ScheduledThreadPoolExecutor(
          1,
          task -> {
            Thread thread = new Thread(task, "engine-progress");
            thread.setDaemon(true);
            return thread;
          });

  private BuildClock(Optional<BuildMonitor> monitor) {
    this.monitor = monitor;
  }

  /**
   * Begins.
   *
   * @param monitor that of the build, if there is one; closed by whoever made it, after this
   * @param progress takes the lines, on a thread of the clock
   */
  static BuildClock start(Optional<BuildMonitor> monitor, Consumer<String> progress) {
    return start(monitor, progress, FIRST_MILLIS, EVERY_MILLIS);
  }

  /** The same with other times, in milliseconds. */
  static BuildClock start(
      Optional<BuildMonitor> monitor, Consumer<String> progress, long first, long every) {
    BuildClock made = new BuildClock(monitor);
    made.clock.scheduleAtFixedRate(
        () -> progress.accept(made.line()), first, every, TimeUnit.MILLISECONDS);
    return made;
  }

  /** Seconds since the start. */
  double seconds() {
    return (System.nanoTime() - start) / 1e9;
  }

  private String line() {
    double share = monitor.map(BuildMonitor::share).orElse(-1.0);
    String line = line(seconds(), share, lastShare, monitor.map(BuildMonitor::phases).orElse(""));
    lastShare = share;
    return line;
  }

  /**
   * A line of progress.
   *
   * @param share of the steps that are done; below 0 if it is not known
   * @param before that of the line before: from a share that stands still no time left is guessed
   * @param phases those that run; the last one is told
   */
  static String line(double seconds, double share, double before, String phases) {
    if (share < 0) {
      return String.format(Locale.ROOT, "building for %.0f s", seconds);
    }
    String phase = phases.substring(phases.lastIndexOf("> ") + 1).strip();
    return String.format(
        Locale.ROOT,
        "building for %.0f s, %.0f %% of the steps done%s%s",
        seconds,
        share * 100,
        share < LEAST_SHARE || share <= before
            ? ""
            : String.format(Locale.ROOT, ", about %.0f s left", seconds * (1 - share) / share),
        phase.isEmpty() ? "" : " (" + phase + ")");
  }

  /** Ends; a line that is being said is said to its end. */
  @Override
  public void close() {
    clock.shutdown(); // drops what is scheduled, and interrupts nobody
  }
}
