package io.nit.core.flow;

/**
 * Which Philox streams a picture's seed feeds; a picture depends on its own seed, size and settings
 * alone.
 */
public final class Seeds {
  private static final long START = 0;
  private static final long SDE = 1L << 32;

  private Seeds() {}

  /** The starting noise at t = 1 of a picture of {@code elements} latent values, in token order. */
  public static double[] start(long seed, int elements) {
    return new Philox(seed, START).normals(elements);
  }

  /** The SDE's noise of a picture of {@code elements} latent values. */
  public static Trajectory.Noise sde(long seed, int elements) {
    return step -> new Philox(seed, SDE + step).normals(elements);
  }
}
