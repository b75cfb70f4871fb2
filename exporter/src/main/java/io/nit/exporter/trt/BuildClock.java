package io.nit.exporter.trt;

import io.nit.core.cuda.BuildMonitor;
import io.nit.core.cuda.BuildMonitor.Timing;
import java.util.Locale;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ScheduledThreadPoolExecutor;
import java.util.concurrent.TimeUnit;
import java.util.function.Consumer;

/**
 * Says now and then how far a build is, while it runs: the profile whose kernels are being timed
 * and about how long it will take where there is a {@link BuildMonitor}, and always the time that
 * has passed.
 */
final class BuildClock implements AutoCloseable {
  private static final long FIRST_MILLIS = 5_000;
  private static final long EVERY_MILLIS = 15_000;

  /** Below it a guess of the time left from the layers that are timed is worth nothing. */
  private static final double LEAST_SHARE = 0.1;

  private final Optional<BuildMonitor> monitor;
  private final int profiles;
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

  private BuildClock(Optional<BuildMonitor> monitor, int profiles) {
    this.monitor = monitor;
    this.profiles = profiles;
  }

  /**
   * Begins.
   *
   * @param monitor that of the build, if there is one; closed by whoever made it, after this
   * @param profiles optimization profiles of the build
   * @param progress takes the lines, on a thread of the clock
   */
  static BuildClock start(Optional<BuildMonitor> monitor, int profiles, Consumer<String> progress) {
    return start(monitor, profiles, progress, FIRST_MILLIS, EVERY_MILLIS);
  }

  /** The same with other times, in milliseconds. */
  static BuildClock start(
      Optional<BuildMonitor> monitor,
      int profiles,
      Consumer<String> progress,
      long first,
      long every) {
    BuildClock made = new BuildClock(monitor, profiles);
    made.clock.scheduleAtFixedRate(
        () -> progress.accept(made.line()), first, every, TimeUnit.MILLISECONDS);
    return made;
  }

  /** Seconds since the start. */
  double seconds() {
    return (System.nanoTime() - start) / 1e9;
  }

  private String line() {
    Optional<Timing> timing = monitor.flatMap(BuildMonitor::timing);
    String phase = monitor.map(BuildMonitor::phase).orElse("");
    String line = line(seconds(), timing, profiles, lastShare, phase);
    lastShare = timing.flatMap(Timing::layers).orElse(0.0);
    return line;
  }

  /**
   * A line of progress.
   *
   * @param timing how far it is, if that is known
   * @param profiles that there are
   * @param before share of layers timed that the line before told, 0 to 1
   * @param phase that runs in TensorRT's words, told where no profile is being timed; may be empty
   */
  static String line(
      double seconds, Optional<Timing> timing, int profiles, double before, String phase) {
    String line = String.format(Locale.ROOT, "building for %.0f s", seconds);
    if (timing.isPresent()) {
      Timing known = timing.get();
      int all = Math.max(profiles, known.profiles() + known.layers().map(share -> 1).orElse(0));
      line += ": " + place(known, all);
      OptionalDouble left = secondsLeft(known, all, before);
      if (left.isPresent()) {
        line += String.format(Locale.ROOT, ", about %.0f s left", left.getAsDouble());
      }
    }
    boolean timed = timing.flatMap(Timing::layers).isPresent();
    return timed || phase.isEmpty() ? line : line + " (" + phase + ")";
  }

  private static String place(Timing timing, int profiles) {
    return timing
        .layers()
        .map(
            share ->
                String.format(
                    Locale.ROOT,
                    "profile %d of %d, %.0f %% of its layers timed",
                    timing.profiles() + 1,
                    profiles,
                    share * 100))
        .orElseGet(() -> timing.profiles() + " of " + profiles + " profiles timed");
  }

  /**
   * A guess; empty where there is nothing to guess from.
   *
   * <p>The layers of a profile are no measure while TensorRT times those that all others are like:
   * of a NiT-XL on an H100 the first 4 % of them took 70 % of the first profile's time. So it is
   * the profiles before that tell what one takes, and the layers only where there is none.
   */
  private static OptionalDouble secondsLeft(Timing timing, int profiles, double before) {
    boolean runs = timing.layers().isPresent();
    double share = timing.layers().orElse(0.0);
    int after = profiles - timing.profiles() - (runs ? 1 : 0);
    if (!runs && after == 0) {
      return OptionalDouble.empty();
    }
    double each;
    if (timing.profiles() > 0) {
      each = timing.profilesTook() / timing.profiles();
    } else if (share >= LEAST_SHARE && share > before) {
      each = timing.seconds() / share;
    } else {
      return OptionalDouble.empty();
    }
    double rest = runs ? each - timing.seconds() : 0;
    if (rest < 0) { // it takes longer than those before
      if (share < LEAST_SHARE) {
        return OptionalDouble.empty();
      }
      rest = timing.seconds() / share - timing.seconds();
    }
    return OptionalDouble.of(rest + after * each);
  }

  /** Ends; a line that is being said is said to its end. */
  @Override
  public void close() {
    clock.shutdown(); // drops what is scheduled, and interrupts nobody
  }
}
