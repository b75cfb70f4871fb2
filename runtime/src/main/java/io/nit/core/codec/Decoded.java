package io.nit.core.codec;

/**
 * A decoded picture.
 *
 * @param rgb [3, H, W], about [-1, 1], not clamped, all finite
 * @param retried whether it came out with NaN or infinity first and was decoded again in single
 *     precision
 * @param tiles tiles that it was decoded in; 1 for a picture decoded whole
 */
public record Decoded(float[] rgb, boolean retried, int tiles) {
  /** A picture decoded whole, at the first try. */
  public static Decoded of(float[] rgb) {
    return new Decoded(rgb, false, 1);
  }

  /** Whether no value is NaN or infinite. */
  public static boolean finite(float[] rgb) {
    for (float value : rgb) {
      if (!Float.isFinite(value)) {
        return false;
      }
    }
    return true;
  }
}
