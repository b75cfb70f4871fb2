package io.nit.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.LearningRate;
import org.junit.jupiter.api.Test;

class TrainOptionsTest {
  private static TrainOptions options(boolean emaWarmup) {
    return new TrainOptions(
        new LearningRate(LearningRate.Schedule.CONSTANT, 1e-3, 0, 10),
        AdamW.Options.STANDARD,
        1,
        0.99,
        emaWarmup,
        1,
        0.1,
        0,
        1,
        new FlowMatchingLoss(true, 0),
        0,
        new TrainOptions.Pace(1, 1, 0, 1, 0));
  }

  @Test
  void withWarmupTheAverageSoonForgetsTheInitialWeights() {
    double initial = 1;
    for (int n = 1; n <= 50; n++) {
      initial *= options(true).emaDecay(n);
    }
    assertTrue(initial < 1e-6, "share of the initial weights after 50 steps: " + initial);
    assertEquals(0.99, options(true).emaDecay(900));
    assertEquals(0.99, options(true).emaDecay(1_000_000));
    assertTrue(options(true).emaDecay(800) < 0.99);
  }

  @Test
  void withoutWarmupTheDecayIsTheSameFromTheFirstStep() {
    assertEquals(0.99, options(false).emaDecay(1));
    assertEquals(0.99, options(false).emaDecay(900));
  }
}
