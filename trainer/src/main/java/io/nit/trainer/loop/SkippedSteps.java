package io.nit.trainer.loop;

import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Counts the steps whose loss or gradient was not finite; ten in a row end the run. */
public final class SkippedSteps {
  private static final Logger LOG = LoggerFactory.getLogger(SkippedSteps.class);
  private static final int MOST_IN_A_ROW = 10;

  private final String kind;
  private long total;
  private int inARow;

  /** Counts from 0; {@code kind} is what a step is taken on: {@code rows}, {@code pictures}. */
  public SkippedSteps(String kind) {
    this.kind = kind;
  }

  /** Steps that were skipped. */
  public long total() {
    return total;
  }

  /** Counts a step that was taken. */
  public void taken() {
    inARow = 0;
  }

  /**
   * Counts a step that was skipped.
   *
   * @param trainedOn which data it was, for the message
   * @throws TrainingFailedException after ten in a row
   */
  public void skipped(long step, double loss, double gradNorm, String trainedOn) {
    total++;
    inARow++;
    LOG.warn(
        "step {} skipped: loss {}, gradient norm {}, data {} {}",
        step,
        loss,
        gradNorm,
        kind,
        trainedOn);
    if (inARow == MOST_IN_A_ROW) {
      throw new TrainingFailedException(
          "step "
              + step
              + ": expected finite losses and gradients, found "
              + inARow
              + " steps in a row without; the last: loss "
              + loss
              + ", gradient norm "
              + gradNorm
              + ", data "
              + kind
              + " "
              + trainedOn
              + ". Lower --lr or look at these "
              + kind
              + "; the last checkpoint is as it was");
    }
  }
}
