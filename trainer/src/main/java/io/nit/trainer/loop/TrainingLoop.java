package io.nit.trainer.loop;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.trainer.metrics.MetricsLog;
import io.nit.trainer.optim.LearningRate;
import java.io.IOException;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.TimeUnit;

/**
 * What every training does around its steps: end on time or when asked to, rows of metrics, the
 * progress bar, sample grids, checkpoints and the plot, each at its pace.
 */
public final class TrainingLoop {
  /** How a run ended. */
  public enum Outcome {
    /** All steps are done. */
    DONE,
    /** The time was up. */
    OUT_OF_TIME,
    /** A signal asked for the end. */
    STOPPED
  }

  /** What is trained. */
  public interface Training {
    /** Steps taken. */
    long step();

    /**
     * Whether to end, as all processes that train together see it: the strongest of their wishes.
     *
     * @param wish this process' own, 0 to go on
     */
    default int agree(int wish) throws IOException {
      return wish;
    }

    /** Takes a step; what it gave may still be on its way to {@link #report}. */
    void take(double rate) throws IOException;

    /**
     * Means over the steps since the last report, and a new start.
     *
     * @param rate the last step's learning rate
     */
    Report report(double rate);

    /** Whether there are sample grids at all. */
    boolean hasSamples();

    /** Draws the sample grid of this step and logs it. */
    void sample(MetricsLog metrics) throws IOException;

    /** Takes a checkpoint of this step; it may be written beside the steps that follow. */
    void save() throws IOException;

    /** Waits until the last checkpoint is written. */
    void awaitSaved() throws IOException;

    /** Writes what the training was for. */
    void finish() throws IOException;
  }

  /**
   * A row of metrics.
   *
   * @param row by name, {@code loss} and {@code lr} among them
   * @param note a few words for the progress bar
   */
  public record Report(Map<String, Double> row, String note) {}

  // Wishes, the stronger the larger.
  private static final int GO_ON = 0;
  private static final int END = 1;
  private static final int STOP = 2; // and the number of the signal more

  /** How many different wishes there are, for {@link Training#agree}. */
  static final int WISHES = STOP + StopSignal.MOST + 1;

  private final LearningRate learningRate;
  private final TrainOptions.Pace pace;

  /** A loop of {@code learningRate}'s steps. */
  public TrainingLoop(LearningRate learningRate, TrainOptions.Pace pace) {
    this.learningRate = learningRate;
    this.pace = pace;
  }

  /**
   * Takes steps until they are done, the time is up or a stop is asked for; then writes a
   * checkpoint and, unless stopped, a last grid and the result.
   *
   * @param stop asks for the end; a signal that another process got is noted in it
   * @throws TrainingFailedException after ten steps in a row that were not finite
   */
  public Outcome run(Training training, MetricsLog metrics, StopSignal stop, boolean quiet)
      throws IOException {
    long steps = learningRate.steps();
    long deadline =
        pace.maxMinutes() == 0
            ? Long.MAX_VALUE
            : System.nanoTime() + (long) (pace.maxMinutes() * TimeUnit.MINUTES.toNanos(1));
    long saved = -1;
    Outcome outcome = Outcome.DONE;
    // A run that is beyond the steps asked for has nothing left, and is not "200 %" done.
    long end = Math.max(steps, training.step());
    try (Progress progress = Progress.start("training", end, training.step(), " steps", quiet)) {
      while (training.step() < steps) {
        boolean timeIsUp = System.nanoTime() >= deadline;
        int signal = stop.signal();
        int wish = training.agree(signal != 0 ? STOP + signal : timeIsUp ? END : GO_ON);
        if (wish > STOP) {
          stop.request(wish - STOP); // where another process got it
          outcome = Outcome.STOPPED;
          break;
        }
        if (wish == END) {
          outcome = Outcome.OUT_OF_TIME;
          break;
        }
        double rate = learningRate.at(training.step());
        training.take(rate);
        long step = training.step();
        progress.step(1);
        if (step % pace.logEvery() == 0 || step == steps) {
          Report report = training.report(rate);
          progress.note(report.note + untilTheEnd(deadline));
          metrics.scalars(step, report.row);
        }
        if (training.hasSamples() && pace.sampleEvery() > 0 && step % pace.sampleEvery() == 0) {
          training.sample(metrics);
        }
        if (step % pace.checkpointEvery() == 0) {
          training.save();
          saved = step;
          metrics.plot();
        }
      }
    }
    if (saved != training.step()) {
      training.save();
    }
    metrics.plot();
    training.awaitSaved();
    if (outcome != Outcome.STOPPED) {
      if (training.hasSamples()
          && (pace.sampleEvery() == 0 || training.step() % pace.sampleEvery() != 0)) {
        training.sample(metrics);
      }
      training.finish();
    }
    return outcome;
  }

  /** What --max-minutes leaves; the bar only knows of steps. */
  private String untilTheEnd(long deadline) {
    if (pace.maxMinutes() == 0) {
      return "";
    }
    long seconds = Math.max(0, TimeUnit.NANOSECONDS.toSeconds(deadline - System.nanoTime()));
    return String.format(Locale.ROOT, ", ends in %d:%02d", seconds / 60, seconds % 60);
  }
}
