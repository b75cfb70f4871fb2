package io.nit.core.flow;

import java.util.Locale;

/** The samplers; state in double precision, the model in its own. */
public enum SamplerKind {
  /** ODE, first order: one forward a step. */
  EULER,
  /** ODE, second order: two forwards a step but for the last. */
  HEUN,
  /** SDE, Euler–Maruyama with diffusion w = 2t: one forward a step, the last without noise. */
  SDE;

  /** The spelling on command lines. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The sampler of a spelling.
   *
   * @throws IllegalArgumentException if there is none
   */
  public static SamplerKind parse(String key) {
    for (SamplerKind kind : values()) {
      if (kind.key().equals(key)) {
        return kind;
      }
    }
    throw new IllegalArgumentException(
        "sampler: expected one of euler, heun, sde; found '" + key + "'");
  }

  /**
   * The times a trajectory visits, from 1 down to 0: steps + 1 values.
   *
   * @param steps steps of the trajectory; at least 1, for {@link #SDE} at least 2
   */
  public double[] times(int steps) {
    int min = this == SDE ? 2 : 1;
    if (steps < min || steps > 100_000) {
      throw new IllegalArgumentException(
          "steps: expected " + min + "..100000 for " + key() + ", found " + steps);
    }
    double[] t = new double[steps + 1];
    int last = this == SDE ? steps - 1 : steps;
    double end = this == SDE ? 0.04 : 0;
    double delta = (end - 1) / last;
    for (int i = 0; i <= last; i++) {
      t[i] = i < (last + 1) / 2 ? 1 + delta * i : end - delta * (last - i); // as torch.linspace
    }
    return t;
  }
}
