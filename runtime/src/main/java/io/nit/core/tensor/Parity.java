package io.nit.core.tensor;

/**
 * How far results are from those expected, one formula for every command that tells it.
 *
 * @param relative ‖found - expected‖ / ‖expected‖; infinity where a value is not finite
 * @param maxAbs largest difference of any value; infinity where one is not finite
 */
public record Parity(double relative, double maxAbs) {
  private static final double MOST = 255;

  /**
   * Compares two results.
   *
   * @throws IllegalArgumentException if they differ in length
   */
  public static Parity of(float[] found, float[] expected) {
    requireSame(found.length, expected.length);
    double difference = 0;
    double norm = 0;
    double maxAbs = 0;
    for (int i = 0; i < found.length; i++) {
      double d = (double) found[i] - expected[i];
      // A value that is not finite makes d NaN, which max and sum would carry into a manifest.
      d = Double.isNaN(d) ? Double.POSITIVE_INFINITY : Math.abs(d);
      maxAbs = Math.max(maxAbs, d);
      difference += d * d;
      norm += (double) expected[i] * expected[i];
    }
    double relative = norm == 0 ? Math.sqrt(difference) : Math.sqrt(difference / norm);
    return new Parity(Double.isNaN(relative) ? Double.POSITIVE_INFINITY : relative, maxAbs);
  }

  /**
   * Peak signal to noise of 8-bit pictures, in dB; infinity where all values are equal.
   *
   * @throws IllegalArgumentException if they differ in length
   */
  public static double psnr(byte[] found, byte[] expected) {
    requireSame(found.length, expected.length);
    double sum = 0;
    for (int i = 0; i < found.length; i++) {
      double d = (found[i] & 0xff) - (expected[i] & 0xff);
      sum += d * d;
    }
    return sum == 0 ? Double.POSITIVE_INFINITY : 10 * Math.log10(MOST * MOST * found.length / sum);
  }

  /**
   * Peak signal to noise of latents, in dB, the peak being the spread of what is expected; infinity
   * where all values are equal.
   *
   * @throws IllegalArgumentException if they differ in length
   */
  public static double psnr(float[] found, float[] expected) {
    requireSame(found.length, expected.length);
    double sum = 0;
    double least = Double.POSITIVE_INFINITY;
    double most = Double.NEGATIVE_INFINITY;
    for (int i = 0; i < found.length; i++) {
      double d = (double) found[i] - expected[i];
      sum += d * d;
      least = Math.min(least, expected[i]);
      most = Math.max(most, expected[i]);
    }
    double peak = most - least;
    return sum == 0 ? Double.POSITIVE_INFINITY : 10 * Math.log10(peak * peak * found.length / sum);
  }

  private static void requireSame(int found, int expected) {
    if (found != expected) {
      throw new IllegalArgumentException("expected " + expected + " values, found " + found);
    }
  }
}
