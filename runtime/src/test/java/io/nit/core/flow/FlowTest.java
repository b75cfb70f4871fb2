package io.nit.core.flow;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** Time grids, guidance intervals and the straight path. */
class FlowTest {
  @Test
  void odeTimesEqualTorchLinspace() {
    assertArrayEquals(new double[] {1, 0}, SamplerKind.EULER.times(1));
    assertArrayEquals(new double[] {1, 0.75, 0.5, 0.25, 0}, SamplerKind.HEUN.times(4));
    // torch counts the second half from the end: numpy has 0.33333333333333337 here.
    assertArrayEquals(
        new double[] {1, 0.6666666666666667, 0.3333333333333333, 0}, SamplerKind.EULER.times(3));
  }

  @Test
  void sdeTimesReachPoint04AStepBeforeZero() {
    assertArrayEquals(new double[] {1, 0.04, 0}, SamplerKind.SDE.times(2));
    assertArrayEquals(new double[] {1, 0.52, 0.04, 0}, SamplerKind.SDE.times(3), 1e-16);
    double[] times = SamplerKind.SDE.times(250);
    assertEquals(251, times.length);
    assertEquals(0.04, times[249]);
    assertEquals(0, times[250]);
  }

  @ParameterizedTest
  @CsvSource({"EULER, 50", "HEUN, 101", "SDE, 250"})
  void timesFallStrictly(SamplerKind kind, int steps) {
    double[] times = kind.times(steps);
    assertEquals(1, times[0]);
    for (int i = 0; i < steps; i++) {
      assertTrue(times[i + 1] < times[i]);
    }
  }

  @Test
  void stepsOutOfRangeAreRefusedByName() {
    for (int steps : new int[] {-1, 0, 100_001}) {
      assertMessage("steps: expected 1..100000", () -> SamplerKind.EULER.times(steps));
    }
    assertMessage("steps: expected 2..100000 for sde, found 1", () -> SamplerKind.SDE.times(1));
  }

  @Test
  void samplersAreFoundByTheirKeysOnly() {
    for (SamplerKind kind : SamplerKind.values()) {
      assertEquals(kind, SamplerKind.parse(kind.key()));
    }
    assertMessage(
        "sampler: expected one of euler, heun, sde; found 'dpm'", () -> SamplerKind.parse("dpm"));
  }

  @Test
  void theGuidanceIntervalIncludesItsEnds() {
    Guidance guidance = new Guidance(2, 0.2, 0.7);
    assertTrue(guidance.at(0.2) && guidance.at(0.7) && guidance.at(0.5));
    assertFalse(guidance.at(Math.nextDown(0.2)) || guidance.at(Math.nextUp(0.7)));
    assertFalse(new Guidance(1, 0, 1).at(0.5));
    assertFalse(Guidance.NONE.at(0.5));
  }

  @Test
  void wrongGuidanceIsRefused() {
    assertMessage("guidance: expected a scale", () -> new Guidance(Double.NaN, 0, 1));
    assertMessage("guidance: expected a scale", () -> new Guidance(-1, 0, 1));
    assertMessage("guidance interval", () -> new Guidance(2, 0.7, 0.2));
    assertMessage("guidance interval", () -> new Guidance(2, -0.1, 0.2));
    assertMessage("guidance interval", () -> new Guidance(2, 0, 1.1));
    assertMessage("guidance interval", () -> new Guidance(2, Double.NaN, 1));
  }

  @Test
  void thePathRunsFromDataToNoiseAtTheModelsVelocity() {
    assertEquals(3, LinearPath.interpolate(3, -5, 0));
    assertEquals(-5, LinearPath.interpolate(3, -5, 1));
    double slope =
        (LinearPath.interpolate(3, -5, 0.75) - LinearPath.interpolate(3, -5, 0.25)) / 0.5;
    assertEquals(LinearPath.velocity(3, -5), slope, 1e-12);
  }

  @Test
  void theScoreIsTheNoiseOverMinusT() {
    double x0 = 0.7;
    double eps = -1.3;
    for (double t : new double[] {0.04, 0.5, 1}) {
      double x = LinearPath.interpolate(x0, eps, t);
      double score = LinearPath.score(LinearPath.velocity(x0, eps), x, t);
      assertEquals(-eps / t, score, 1e-12); // of a normal of mean (1-t)·x₀ and spread t
    }
  }

  @Test
  void trainingTimesAreALogisticOfTheNormalDraw() {
    assertEquals(0.5, LinearPath.time(0, 0, 1));
    assertEquals(Math.E / (1 + Math.E), LinearPath.time(1, 0, 1), 1e-15);
    assertEquals(Math.E / (1 + Math.E), LinearPath.time(0.5, 0.5, 1), 1e-15);
    assertEquals(1 / (1 + Math.E * Math.E), LinearPath.time(-1, 0, 2), 1e-15);
  }

  private static void assertMessage(String start, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.startsWith(start), message);
  }
}
