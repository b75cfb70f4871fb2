package io.nit.tests.bench;

import io.nit.core.codec.Tiling;
import io.nit.core.image.RgbImage;

/**
 * How far a tiled decode is from the whole one, and whether the tiles' edges show in the
 * difference.
 *
 * <p>Legend: d = tiled - whole; a step is |d(x+1) - d(x)|, along rows and columns alike. An edge is
 * where a tile's fade begins or ends.
 *
 * @param psnr of the tiled picture against the whole one, on [-1, 1] clamped, in dB
 * @param meanLevels mean |d| in levels of 8 bit
 * @param maxLevels largest |d| in levels of 8 bit
 * @param edgeSteps mean step across an edge, in levels
 * @param otherSteps mean step elsewhere, in levels
 */
public record Seams(
    double psnr, double meanLevels, double maxLevels, double edgeSteps, double otherSteps) {
  private static final double LEVELS = 127.5;

  /** A visible seam would make this well above 1. */
  public double ratio() {
    return edgeSteps / otherSteps;
  }

  /**
   * Measures.
   *
   * @param whole [3, height, width], decoded whole
   * @param tiled [3, height, width], decoded in tiles
   */
  public static Seams of(float[] whole, float[] tiled, int height, int width, Tiling tiling) {
    double sum = 0;
    double squares = 0;
    double largest = 0;
    double[] steps = new double[2]; // elsewhere, across an edge
    long[] counts = new long[2];
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < height; y++) {
        for (int x = 0; x < width; x++) {
          int at = (c * height + y) * width + x;
          double d = difference(whole, tiled, at);
          sum += Math.abs(d);
          squares += d * d;
          largest = Math.max(largest, Math.abs(d));
          if (x + 1 < width) {
            int edge = edge(x + 1, width, tiling) ? 1 : 0;
            steps[edge] += Math.abs(difference(whole, tiled, at + 1) - d);
            counts[edge]++;
          }
          if (y + 1 < height) {
            int edge = edge(y + 1, height, tiling) ? 1 : 0;
            steps[edge] += Math.abs(difference(whole, tiled, at + width) - d);
            counts[edge]++;
          }
        }
      }
    }
    double mean = squares / whole.length;
    return new Seams(
        10 * Math.log10(4 / mean),
        LEVELS * sum / whole.length,
        LEVELS * largest,
        LEVELS * steps[1] / counts[1],
        LEVELS * steps[0] / counts[0]);
  }

  private static boolean edge(int at, int side, Tiling tiling) {
    int inTile = at % tiling.stride();
    boolean overlapped = at >= tiling.stride() && side > tiling.tile();
    return overlapped && (inTile == 0 || inTile == tiling.tile() - tiling.stride());
  }

  private static double difference(float[] whole, float[] tiled, int at) {
    return clamp(tiled[at]) - clamp(whole[at]);
  }

  private static double clamp(float value) {
    return Math.max(-1, Math.min(1, value));
  }

  /** The difference, mid grey where there is none, {@code times} as strong. */
  public static RgbImage picture(
      float[] whole, float[] tiled, int height, int width, double times) {
    float[] planes = new float[whole.length];
    for (int i = 0; i < planes.length; i++) {
      planes[i] = (float) (times * difference(whole, tiled, i));
    }
    return RgbImage.ofPlanes(planes, height, width);
  }

  @Override
  public String toString() {
    return String.format(
        java.util.Locale.ROOT,
        "PSNR %.1f dB, difference mean %.3f, largest %.1f of 255, steps across edges %.4f, elsewhere"
            + " %.4f, ratio %.2f",
        psnr,
        meanLevels,
        maxLevels,
        edgeSteps,
        otherSteps,
        ratio());
  }
}
