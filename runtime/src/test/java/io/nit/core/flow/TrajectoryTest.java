package io.nit.core.flow;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.function.DoubleUnaryOperator;
import java.util.stream.Collectors;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class TrajectoryTest {
  @ParameterizedTest
  @EnumSource(
      value = SamplerKind.class,
      names = {"EULER", "HEUN"})
  void aConstantVelocityIsFollowedExactly(SamplerKind kind) {
    Trajectory trajectory = new Trajectory(kind, 7, Guidance.NONE, new double[] {0.5, -2}, null);
    while (!trajectory.done()) {
      trajectory.advance(new float[] {9, 0.25f, -1.5f}, 1, null, 0);
    }
    assertArrayEquals(new double[] {0.25, -0.5}, trajectory.x(), 1e-14);
  }

  @Test
  void eulerIsOfFirstOrderAndHeunOfSecond() {
    double euler = decayError(SamplerKind.EULER, 20) / decayError(SamplerKind.EULER, 40);
    double heun = decayError(SamplerKind.HEUN, 20) / decayError(SamplerKind.HEUN, 40);
    assertEquals(2, euler, 0.1);
    assertEquals(4, heun, 0.3);
  }

  /** Error of dx/dt = x, whose solution at t = 0 is x(1)/e. */
  private static double decayError(SamplerKind kind, int steps) {
    Trajectory trajectory = new Trajectory(kind, steps, Guidance.NONE, new double[] {1}, null);
    return Math.abs(run(trajectory, x -> x) - Math.exp(-1));
  }

  private static double run(Trajectory trajectory, DoubleUnaryOperator velocity) {
    while (!trajectory.done()) {
      float v = (float) velocity.applyAsDouble(trajectory.x()[0]);
      trajectory.advance(new float[] {v}, 0, new float[] {v}, 0);
    }
    return trajectory.x()[0];
  }

  @Test
  void sdeStepsEqualTheFormulasByHand() {
    double x0 = 0.75;
    double eps = -1.25;
    Trajectory trajectory =
        new Trajectory(
            SamplerKind.SDE, 2, Guidance.NONE, new double[] {x0}, step -> new double[] {eps});
    assertEquals(1, trajectory.t());
    trajectory.advance(new float[] {0.5f}, 0, null, 0);
    // t = 1: w = 2, score = -x, drift = v + x, dt = -0.96.
    double x1 = x0 - 0.96 * (0.5 + x0) + Math.sqrt(2) * Math.sqrt(0.96) * eps;
    assertEquals(x1, trajectory.x()[0], 1e-14);
    assertEquals(0.04, trajectory.t());
    trajectory.advance(new float[] {-0.25f}, 0, null, 0);
    // t = 0.04: w = 0.08, score = (-0.96·v - x) / 0.04; drift alone, dt = -0.04.
    double drift = -0.25 - 0.04 * ((0.96 * 0.25 - x1) / 0.04);
    assertEquals(x1 - 0.04 * drift, trajectory.x()[0], 1e-14);
    assertTrue(trajectory.done());
  }

  @Test
  void sdeDrawsNoiseOnceForEveryStepButTheLast() {
    List<Integer> drawn = new ArrayList<>();
    Trajectory trajectory =
        new Trajectory(
            SamplerKind.SDE,
            5,
            Guidance.NONE,
            new double[] {1},
            step -> {
              drawn.add(step);
              return new double[1];
            });
    run(trajectory, x -> x);
    assertEquals(List.of(0, 1, 2, 3), drawn);
  }

  @Test
  void guidanceMixesTheBranchesInsideItsIntervalOnly() {
    Trajectory trajectory =
        new Trajectory(SamplerKind.EULER, 4, new Guidance(3, 0.25, 0.75), new double[] {0}, null);
    List<Boolean> guided = new ArrayList<>();
    List<Double> moved = new ArrayList<>();
    while (!trajectory.done()) {
      guided.add(trajectory.guided());
      double before = trajectory.x()[0];
      trajectory.advance(new float[] {2}, 0, trajectory.guided() ? new float[] {-7, 1} : null, 1);
      moved.add(trajectory.x()[0] - before);
    }
    assertEquals(List.of(false, true, true, true), guided); // t = 1, 0.75, 0.5, 0.25
    assertEquals(List.of(-0.5, -1.0, -1.0, -1.0), moved); // 2, then 1 + 3·(2 - 1)
    assertFalse(trajectory.guided());
  }

  @Test
  void heunsCorrectorFollowsTheIntervalTestOfItsStepsFirstTime() {
    Trajectory trajectory =
        new Trajectory(SamplerKind.HEUN, 4, new Guidance(2, 0.7, 0.8), new double[] {0}, null);
    List<Boolean> guided = new ArrayList<>();
    List<Double> times = new ArrayList<>();
    while (!trajectory.done()) {
      guided.add(trajectory.guided());
      times.add(trajectory.t());
      trajectory.advance(new float[] {1}, 0, new float[] {1}, 0);
    }
    assertEquals(List.of(1.0, 0.75, 0.75, 0.5, 0.5, 0.25, 0.25), times);
    assertEquals(List.of(false, false, true, true, false, false, false), guided);
  }

  @ParameterizedTest
  @EnumSource(SamplerKind.class)
  void thePlanIsWhatIsThenAskedFor(SamplerKind kind) {
    Trajectory trajectory =
        new Trajectory(kind, 7, new Guidance(2, 0.2, 0.7), new double[] {1}, step -> new double[1]);
    List<Trajectory.Evaluation> plan = trajectory.plan();
    List<Trajectory.Evaluation> asked = new ArrayList<>();
    while (!trajectory.done()) {
      asked.add(new Trajectory.Evaluation(trajectory.t(), trajectory.guided()));
      trajectory.advance(new float[] {0}, 0, new float[] {0}, 0);
    }
    assertEquals(asked, plan);
    assertEquals(plan, trajectory.plan());
    assertEquals(trajectory.evaluations(), plan.size());
    assertEquals(
        Set.of(true, false),
        plan.stream().map(Trajectory.Evaluation::guided).collect(Collectors.toSet()));
  }

  @ParameterizedTest
  @EnumSource(SamplerKind.class)
  void evaluationsCountTheForwardsThatAreTaken(SamplerKind kind) {
    Trajectory trajectory =
        new Trajectory(kind, 6, Guidance.NONE, new double[] {1}, step -> new double[1]);
    int forwards = 0;
    while (!trajectory.done()) {
      trajectory.advance(new float[] {0}, 0, null, 0);
      forwards++;
    }
    assertEquals(trajectory.evaluations(), forwards);
    assertEquals(6, trajectory.step());
    assertEquals(6, trajectory.steps());
  }

  @ParameterizedTest
  @EnumSource(SamplerKind.class)
  void movesThatAreMadeElsewhereEndAtTheSameLatent(SamplerKind kind) {
    Guidance guidance = new Guidance(2.3, 0.2, 0.7);
    double[] start = new Philox(3, 0).normals(40);
    Trajectory here = new Trajectory(kind, 6, guidance, start, Seeds.sde(4, 40));
    Trajectory away = new Trajectory(kind, 6, guidance, start, Seeds.sde(4, 40));
    double[] x = away.x().clone();
    double[] kept = new double[40];
    for (int step = 0; !here.done(); step++) {
      float[] v = new float[80];
      for (int i = 0; i < v.length; i++) {
        v[i] = (float) Math.sin(step + 0.1 * i);
      }
      assertEquals(here.next(), away.next());
      assertEquals(here.t(), away.t());
      away.next().apply(x, kept, v, 0, v, 40, away.noise());
      away.advanceElsewhere();
      here.advance(v, 0, v, 40);
      assertThrows(IllegalStateException.class, away::x);
      assertThrows(IllegalStateException.class, () -> away.advance(v, 0, v, 40));
      if (!away.done()) {
        assertThrows(IllegalStateException.class, () -> away.takeBack(x));
      }
    }
    assertTrue(away.elsewhere());
    away.takeBack(x);
    assertArrayEquals(here.x(), away.x());
    assertThrows(IllegalStateException.class, away::advanceElsewhere);
  }

  @Test
  void theStartIsCopied() {
    double[] start = {1};
    Trajectory trajectory = new Trajectory(SamplerKind.EULER, 1, Guidance.NONE, start, null);
    trajectory.advance(new float[] {1}, 0, null, 0);
    assertArrayEquals(new double[] {1}, start);
  }

  @Test
  void advancingBeyondTheEndThrows() {
    Trajectory trajectory =
        new Trajectory(SamplerKind.EULER, 1, Guidance.NONE, new double[] {1}, null);
    trajectory.advance(new float[] {1}, 0, null, 0);
    assertThrows(
        IllegalStateException.class, () -> trajectory.advance(new float[] {1}, 0, null, 0));
  }

  @Test
  void sdeWithoutNoiseIsRefused() {
    assertThrows(
        IllegalArgumentException.class,
        () -> new Trajectory(SamplerKind.SDE, 5, Guidance.NONE, new double[8], null));
  }
}
