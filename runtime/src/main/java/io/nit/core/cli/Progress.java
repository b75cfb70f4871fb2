package io.nit.core.cli;

import java.time.Duration;
import java.time.temporal.ChronoUnit;
import java.util.concurrent.atomic.AtomicReference;
import java.util.function.Consumer;
import me.tongfei.progressbar.DelegatingProgressBarConsumer;
import me.tongfei.progressbar.ProgressBar;
import me.tongfei.progressbar.ProgressBarBuilder;
import me.tongfei.progressbar.ProgressBarStyle;
import org.slf4j.LoggerFactory;

/**
 * Progress of long work on stderr, with throughput and time left: a bar on a terminal, a log line
 * every ten seconds elsewhere. Safe for several threads and to close twice.
 */
public final class Progress implements AutoCloseable {
  private final ProgressBar bar;

  private Progress(ProgressBar bar) {
    this.bar = bar;
  }

  /**
   * Starts.
   *
   * @param task what is done, a word or two
   * @param total units of work in all; -1 if not known
   * @param done units done before, as when work is resumed
   * @param unit what a unit is called, with a space before it: {@code " images"}
   * @param quiet whether to show nothing
   */
  public static Progress start(String task, long total, long done, String unit, boolean quiet) {
    if (quiet) {
      return new Progress(null);
    }
    ProgressBarBuilder builder =
        ProgressBar.builder()
            .setTaskName(task)
            .setInitialMax(total)
            .startsFrom(done, Duration.ZERO)
            .setUnit(unit, 1)
            .setSpeedUnit(ChronoUnit.SECONDS)
            .showSpeed();
    if (System.console() == null) {
      builder
          .setUpdateIntervalMillis(10_000)
          .setStyle(ProgressBarStyle.ASCII)
          .setConsumer(
              new DelegatingProgressBarConsumer(
                  changes(LoggerFactory.getLogger(Progress.class)::info), 160));
    } else {
      builder.setUpdateIntervalMillis(200).setStyle(ProgressBarStyle.ASCII);
    }
    return new Progress(builder.build());
  }

  /** Passes on what differs from the line before: the bar draws its last state twice. */
  static Consumer<String> changes(Consumer<String> lines) {
    AtomicReference<String> last = new AtomicReference<>();
    return line -> {
      if (!line.equals(last.getAndSet(line))) {
        lines.accept(line);
      }
    };
  }

  /** Counts {@code units} more as done. */
  public void step(long units) {
    if (bar != null) {
      bar.stepBy(units);
    }
  }

  /** Shows a few words behind the bar, for example a loss. */
  public void note(String words) {
    if (bar != null) {
      bar.setExtraMessage(" " + words);
    }
  }

  @Override
  public void close() {
    if (bar != null) {
      bar.close();
    }
  }
}
