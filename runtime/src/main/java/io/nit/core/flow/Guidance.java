package io.nit.core.flow;

/**
 * Classifier-free guidance within an interval of t (arXiv 2404.07724).
 *
 * @param scale g: {@code uncond + g·(cond - uncond)}; 1 or less is no guidance
 * @param low smallest t that is guided, inclusive
 * @param high largest t that is guided, inclusive
 */
public record Guidance(double scale, double low, double high) {
  /** No guidance: the conditional branch alone. */
  public static final Guidance NONE = new Guidance(1, 0, 1);

  /** Checks the interval. */
  public Guidance {
    if (!(scale >= 0 && scale <= 1000)) {
      throw new IllegalArgumentException("guidance: expected a scale of 0..1000, found " + scale);
    }
    if (!(low >= 0 && low <= high && high <= 1)) {
      throw new IllegalArgumentException(
          "guidance interval: expected 0 <= low <= high <= 1, found " + low + "," + high);
    }
  }

  /** Whether a step that begins at t is guided. */
  public boolean at(double t) {
    return scale > 1 && t >= low && t <= high;
  }
}
