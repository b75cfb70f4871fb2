package io.nit.core.flow;

import java.util.ArrayList;
import java.util.List;

/**
 * One image's way from noise to latent: says which velocity it needs next and moves on when it is
 * given. Images of one pack are each their own trajectory, so they may differ in steps, sampler and
 * guidance, start and finish at different times, and never depend on one another.
 *
 * <pre>{@code
 * while (!trajectory.done()) {
 *   // model forward at trajectory.x(), trajectory.t(); also the unconditional branch if trajectory.guided()
 *   trajectory.advance(cond, condOffset, uncond, uncondOffset);
 * }
 * double[] latent = trajectory.x();
 * }</pre>
 *
 * <p>Follows the authors' {@code euler_sampler} and {@code euler_maruyama_sampler}: guidance acts
 * on the velocity, which for the SDE equals acting on the drift, as the drift is affine in the
 * velocity; Heun's corrector follows the interval test of its step's first t.
 */
public final class Trajectory {
  /** The SDE's noise of a step. */
  @FunctionalInterface
  public interface Noise {
    /** Standard normal values of noisy step {@code step}, counted from 0; [elements]. */
    double[] step(int step);
  }

  private final SamplerKind kind;
  private final Guidance guidance;
  private final Noise noise;
  private final double[] times;
  private final int elements;
  private double[] x; // null while it lies elsewhere
  private double[] velocity; // null until it is needed
  private double[] predicted; // x of Heun's corrector while that is awaited
  private boolean corrects;
  private int step;

  /**
   * A trajectory at its start.
   *
   * @param start the noise at t = 1, [elements]; copied
   * @param noise the SDE's; may be null for the ODE samplers
   */
  public Trajectory(SamplerKind kind, int steps, Guidance guidance, double[] start, Noise noise) {
    if (kind == SamplerKind.SDE && noise == null) {
      throw new IllegalArgumentException("the sde sampler needs a noise source");
    }
    this.kind = kind;
    this.guidance = guidance;
    this.noise = noise;
    this.times = kind.times(steps);
    this.x = start.clone();
    this.elements = start.length;
  }

  /** Whether {@link #x} is the latent. */
  public boolean done() {
    return step == times.length - 1;
  }

  /**
   * The point at which the model is wanted next, or the latent once {@link #done}; not a copy.
   *
   * @throws IllegalStateException while its values lie {@link #elsewhere}
   */
  public double[] x() {
    requireHere();
    return corrects ? predicted : x;
  }

  /** Values of the latent. */
  public int elements() {
    return elements;
  }

  /** The time at which the model is wanted next. */
  public double t() {
    return times[corrects ? step + 1 : step];
  }

  /** Whether the next velocity is guided, so that the unconditional branch is wanted too. */
  public boolean guided() {
    return !done() && guidance.at(times[step]);
  }

  /** Steps finished. */
  public int step() {
    return step;
  }

  /** Steps in all. */
  public int steps() {
    return times.length - 1;
  }

  /** Forwards of the model that a whole trajectory takes. */
  public int evaluations() {
    return kind == SamplerKind.HEUN ? 2 * steps() - 1 : steps();
  }

  /** A forward of the model that a trajectory takes: its time, and whether it is guided. */
  public record Evaluation(double t, boolean guided) {}

  /** All forwards of the whole trajectory, in order; [{@link #evaluations}]. */
  public List<Evaluation> plan() {
    List<Evaluation> plan = new ArrayList<>();
    for (int i = 0; i < steps(); i++) {
      boolean guided = guidance.at(times[i]);
      plan.add(new Evaluation(times[i], guided));
      if (kind == SamplerKind.HEUN && i < steps() - 1) {
        plan.add(new Evaluation(times[i + 1], guided));
      }
    }
    return plan;
  }

  /**
   * How the next velocity moves the image on.
   *
   * @throws IllegalStateException if {@link #done}
   */
  public Move next() {
    if (done()) {
      throw new IllegalStateException("Trajectory: advanced beyond its last step");
    }
    boolean last = step == times.length - 2;
    double dt = times[step + 1] - times[step];
    Move.Rule rule =
        switch (kind) {
          case EULER -> Move.Rule.EULER;
          case HEUN -> corrects ? Move.Rule.CORRECT : last ? Move.Rule.EULER : Move.Rule.PREDICT;
          case SDE -> Move.Rule.DIFFUSE;
        };
    double spread =
        kind == SamplerKind.SDE && !last ? Math.sqrt(2 * times[step]) * Math.sqrt(Math.abs(dt)) : 0;
    return new Move(rule, t(), dt, guided(), guidance.scale(), spread, last);
  }

  /** The noise of the {@link #next} move, [{@link #elements}]; null if its spread is 0. */
  public double[] noise() {
    return next().spread() > 0 ? noise.step(step) : null;
  }

  /**
   * Takes the velocity at ({@link #x}, {@link #t}) and moves on.
   *
   * @param cond conditional velocities; this image's begin at {@code condAt}
   * @param uncond unconditional velocities, from {@code uncondAt}; read only if {@link #guided}
   * @throws IllegalStateException if {@link #done}, or its values lie {@link #elsewhere}
   */
  public void advance(float[] cond, int condAt, float[] uncond, int uncondAt) {
    Move move = next();
    requireHere();
    if (velocity == null) {
      velocity = new double[elements];
    }
    move.apply(x, velocity, cond, condAt, uncond, uncondAt, noise());
    predicted = null;
    if (move.rule() == Move.Rule.PREDICT) {
      predicted = new double[elements];
      for (int i = 0; i < elements; i++) {
        predicted[i] = move.ahead(x[i], velocity[i]);
      }
    }
    count(move);
  }

  /**
   * Moves on as {@link #advance} does, for whoever has taken the values over and makes the {@link
   * #next} move with them.
   *
   * @throws IllegalStateException if {@link #done}
   */
  public void advanceElsewhere() {
    count(next());
    x = null;
    velocity = null;
    predicted = null;
  }

  /** Whether the values are with whoever calls {@link #advanceElsewhere}. */
  public boolean elsewhere() {
    return x == null;
  }

  /**
   * Takes the latent back from elsewhere.
   *
   * @param latent [{@link #elements}]; not copied
   * @throws IllegalStateException if it is not {@link #done}
   */
  public void takeBack(double[] latent) {
    if (!done() || latent.length != elements) {
      throw new IllegalStateException(
          "Trajectory: expected a latent of "
              + elements
              + " values after the last step, found "
              + latent.length
              + " after step "
              + step);
    }
    x = latent;
  }

  private void count(Move move) {
    corrects = move.rule() == Move.Rule.PREDICT;
    if (!corrects) {
      step++;
    }
  }

  private void requireHere() {
    if (elsewhere()) {
      throw new IllegalStateException("Trajectory: its values lie elsewhere");
    }
  }
}
