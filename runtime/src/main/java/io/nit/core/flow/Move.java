package io.nit.core.flow;

/**
 * How one velocity moves an image on: a sampler's arithmetic without the values, so that they may
 * lie elsewhere. The kernels of {@link io.nit.core.cuda.SamplerKernels} compute the same, operation
 * by operation, each rounded by itself.
 *
 * <p>Legend: v the velocity, after guidance; x the state; t the time at which v was wanted.
 *
 * @param rule what is computed
 * @param t the time
 * @param dt the step's length, below 0
 * @param guided whether the unconditional velocity is read
 * @param scale g of {@code uncond + g·(cond - uncond)}
 * @param spread factor of the noise; 0 for none
 * @param last whether x is the latent afterwards
 */
public record Move(
    Rule rule, double t, double dt, boolean guided, double scale, double spread, boolean last) {
  /** What is computed; in the order of {@code NIT_MOVE_EULER} and on, {@code api/nitSampler.h}. */
  public enum Rule {
    /** {@code x += dt·v}. */
    EULER,
    /** Keeps v; the next velocity is wanted at {@code x + dt·v}. */
    PREDICT,
    /** {@code x += dt·(kept v / 2 + v / 2)}. */
    CORRECT,
    /** {@code x += (v - t·score(v, x))·dt + spread·noise}. */
    DIFFUSE
  }

  /**
   * Moves an image on.
   *
   * @param x [elements], changed unless the rule is {@link Rule#PREDICT}
   * @param kept [elements], v of {@link Rule#PREDICT} for the {@link Rule#CORRECT} after it
   * @param cond conditional velocities; this image's begin at {@code condAt}
   * @param uncond unconditional velocities, from {@code uncondAt}; read only if guided
   * @param noise [elements], read only if spread is above 0
   */
  public void apply(
      double[] x,
      double[] kept,
      float[] cond,
      int condAt,
      float[] uncond,
      int uncondAt,
      double[] noise) {
    if (rule == Rule.CORRECT) {
      for (int i = 0; i < x.length; i++) {
        double v = mix(cond[condAt + i], guided ? uncond[uncondAt + i] : 0);
        x[i] += dt * (0.5 * kept[i] + 0.5 * v);
      }
      return;
    }
    for (int i = 0; i < x.length; i++) {
      kept[i] = mix(cond[condAt + i], guided ? uncond[uncondAt + i] : 0);
    }
    if (rule == Rule.EULER) {
      for (int i = 0; i < x.length; i++) {
        x[i] = ahead(x[i], kept[i]);
      }
    } else if (rule == Rule.DIFFUSE) {
      for (int i = 0; i < x.length; i++) {
        double drift = kept[i] - t * LinearPath.score(kept[i], x[i], t); // diffusion w = 2t, halved
        x[i] += drift * dt + (spread == 0 ? 0 : spread * noise[i]);
      }
    }
  }

  /** {@code x + dt·v}: Euler's step, and where Heun's corrector wants its velocity. */
  public double ahead(double x, double v) {
    return x + dt * v;
  }

  private double mix(double cond, double uncond) {
    return guided ? uncond + scale * (cond - uncond) : cond;
  }
}
