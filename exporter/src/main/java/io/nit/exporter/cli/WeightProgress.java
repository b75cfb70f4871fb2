package io.nit.exporter.cli;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import java.util.concurrent.CancellationException;
import java.util.function.LongConsumer;

/** Counts weights as they are written, and ends the work where a stop was asked for. */
final class WeightProgress implements LongConsumer, AutoCloseable {
  private final Progress progress;
  private final StopSignal stop;
  private long written;

  /** Shows the way to {@code bytes}. */
  WeightProgress(long bytes, StopSignal stop, boolean quiet) {
    this.progress = Progress.start("export", bytes >> 20, 0, " MiB", quiet);
    this.stop = stop;
  }

  @Override
  public void accept(long bytes) {
    requireGoOn(stop);
    long before = written >> 20;
    written += bytes;
    progress.step((written >> 20) - before);
  }

  /**
   * Goes on, or not.
   *
   * @throws CancellationException if the stop was asked for
   */
  static void requireGoOn(StopSignal stop) {
    if (stop.requested()) {
      throw new CancellationException("stopped; nothing is left");
    }
  }

  @Override
  public void close() {
    progress.close();
  }
}
