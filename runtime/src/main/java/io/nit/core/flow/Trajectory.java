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
  private final double[] velocity;
  private double[] x;
  private double[] predicted; // Heun's predictor while its corrector is awaited
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
    this.velocity = new double[start.length];
  }

  /** Whether {@link #x} is the latent. */
  public boolean done() {
    return step == times.length - 1;
  }

  /** The point at which the model is wanted next, or the latent once {@link #done}; not a copy. */
  public double[] x() {
    return predicted != null ? predicted : x;
  }

  /** The time at which the model is wanted next. */
  public double t() {
    return times[predicted != null ? step + 1 : step];
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
   * Takes the velocity at ({@link #x}, {@link #t}) and moves on.
   *
   * @param cond conditional velocities; this image's begin at {@code condAt}
   * @param uncond unconditional velocities, from {@code uncondAt}; read only if {@link #guided}
   * @throws IllegalStateException if {@link #done}
   */
  public void advance(float[] cond, int condAt, float[] uncond, int uncondAt) {
    if (done()) {
      throw new IllegalStateException("Trajectory: advanced beyond its last step");
    }
    double scale = guidance.scale();
    boolean guided = guided();
    double dt = times[step + 1] - times[step];
    if (predicted != null) {
      for (int i = 0; i < x.length; i++) {
        double v = mix(cond[condAt + i], guided ? uncond[uncondAt + i] : 0, guided, scale);
        x[i] += dt * (0.5 * velocity[i] + 0.5 * v);
      }
      predicted = null;
      step++;
      return;
    }
    for (int i = 0; i < x.length; i++) {
      velocity[i] = mix(cond[condAt + i], guided ? uncond[uncondAt + i] : 0, guided, scale);
    }
    boolean last = step == times.length - 2;
    switch (kind) {
      case SDE -> sde(dt, last);
      case HEUN -> {
        double[] ahead = last ? x : new double[x.length];
        for (int i = 0; i < x.length; i++) {
          ahead[i] = x[i] + dt * velocity[i];
        }
        predicted = last ? null : ahead;
      }
      default -> {
        for (int i = 0; i < x.length; i++) {
          x[i] += dt * velocity[i];
        }
      }
    }
    if (predicted == null) {
      step++;
    }
  }

  private void sde(double dt, boolean last) {
    double t = times[step];
    double w = 2 * t;
    double spread = last ? 0 : Math.sqrt(w) * Math.sqrt(Math.abs(dt));
    double[] eps = last ? null : noise.step(step);
    for (int i = 0; i < x.length; i++) {
      double drift = velocity[i] - 0.5 * w * LinearPath.score(velocity[i], x[i], t);
      x[i] += drift * dt + (last ? 0 : spread * eps[i]);
    }
  }

  private static double mix(double cond, double uncond, boolean guided, double scale) {
    return guided ? uncond + scale * (cond - uncond) : cond;
  }
}
