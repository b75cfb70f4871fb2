package io.nit.testing;

/** How far two results are apart. */
public final class Errors {
  private Errors() {}

  /** ‖found - expected‖ / ‖expected‖ over all values; NaN and infinity count as infinitely far. */
  public static double relative(double[] found, double[] expected) {
    if (found.length != expected.length) {
      throw new AssertionError("expected " + expected.length + " values, found " + found.length);
    }
    double difference = 0;
    double norm = 0;
    for (int i = 0; i < found.length; i++) {
      if (!Double.isFinite(found[i])) {
        return Double.POSITIVE_INFINITY;
      }
      difference += (found[i] - expected[i]) * (found[i] - expected[i]);
      norm += expected[i] * expected[i];
    }
    return norm == 0 ? Math.sqrt(difference) : Math.sqrt(difference / norm);
  }

  /** {@link #relative(double[], double[])} of floats. */
  public static double relative(float[] found, float[] expected) {
    return relative(widen(found), widen(expected));
  }

  /** The same values as doubles. */
  public static double[] widen(float[] values) {
    double[] wide = new double[values.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[i];
    }
    return wide;
  }
}
