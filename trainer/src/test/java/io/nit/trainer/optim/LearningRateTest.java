package io.nit.trainer.optim;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.trainer.optim.LearningRate.Schedule;
import org.junit.jupiter.api.Test;

class LearningRateTest {
  private static final double EXACT = 1e-15;

  @Test
  void warmUpRisesFromTheFirstStepToTheBase() {
    LearningRate rate = new LearningRate(Schedule.CONSTANT, 0.8, 4, 100);
    assertEquals(0.2, rate.at(0), EXACT);
    assertEquals(0.8, rate.at(3), EXACT);
    assertEquals(0.8, rate.at(4), EXACT);
    assertEquals(0.8, rate.at(99), EXACT);
  }

  @Test
  void cosineAndLinearFallFromTheBaseToZeroAtTheLastStep() {
    LearningRate cosine = new LearningRate(Schedule.COSINE, 1, 10, 110);
    LearningRate linear = new LearningRate(Schedule.LINEAR, 1, 10, 110);
    assertEquals(1, cosine.at(10), EXACT);
    assertEquals(0.5, cosine.at(60), EXACT);
    assertEquals(0, cosine.at(110), EXACT);
    assertEquals(1, linear.at(10), EXACT);
    assertEquals(0.75, linear.at(35), EXACT);
    assertEquals(0, linear.at(200), EXACT);
  }

  @Test
  void withoutWarmUpTheFirstStepTakesTheBase() {
    assertEquals(0.3, new LearningRate(Schedule.COSINE, 0.3, 0, 5).at(0), EXACT);
  }

  @Test
  void badValuesAreRefused() {
    assertThrows(IllegalArgumentException.class, () -> new LearningRate(Schedule.LINEAR, 0, 0, 5));
    assertThrows(IllegalArgumentException.class, () -> new LearningRate(Schedule.LINEAR, 1, -1, 5));
    assertThrows(IllegalArgumentException.class, () -> new LearningRate(Schedule.LINEAR, 1, 0, 0));
  }
}
