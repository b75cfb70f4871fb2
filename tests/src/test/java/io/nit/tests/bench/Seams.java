package io.nit.tests.bench;

import io.nit.core.codec.Tiling;
import io.nit.core.image.RgbImage;
import java.util.Locale;

/**
 * How far a tiled decode is from the whole one, and whether the tiles' edges show in the
 * difference.
 *
 * <p>Legend: d = tiled - whole, in levels of 8 bit; a step is |d(x+1) - d(x)|, from one row or
 * column of pixels to the next. An edge is where a tile's fade begins or ends. A seam is a line:
 * its steps stand out from those a few pixels beside it, whatever the picture shows there.
 *
 * @param psnr of the tiled picture against the whole one, on [-1, 1] clamped, in dB
 * @param mean |d|
 * @param largest |d|
 * @param edgeSteps mean step across an edge
 * @param nearSteps mean step 2 to 16 pixels from an edge
 * @param otherSteps mean step anywhere but across an edge
 * @param shift largest mean of d over the core of a tile, which no other overlaps, one colour at a
 *     time: what a tile is brighter or darker as a whole
 */
public record Seams(
    double psnr,
    double mean,
    double largest,
    double edgeSteps,
    double nearSteps,
    double otherSteps,
    double shift) {
  private static final double LEVELS = 127.5;
  private static final int NEAR = 16;

  /** A visible seam would make this well above 1. */
  public double ratio() {
    return edgeSteps / nearSteps;
  }

  /**
   * Measures.
   *
   * @param whole [3, height, width], decoded whole
   * @param tiled [3, height, width], decoded in tiles
   */
  public static Seams of(float[] whole, float[] tiled, int height, int width, Tiling tiling) {
    float[] d = new float[whole.length];
    double sum = 0;
    double squares = 0;
    double largest = 0;
    for (int i = 0; i < d.length; i++) {
      d[i] = (float) (LEVELS * (clamp(tiled[i]) - clamp(whole[i])));
      sum += Math.abs(d[i]);
      squares += (double) d[i] * d[i];
      largest = Math.max(largest, Math.abs(d[i]));
    }
    Steps steps = new Steps();
    steps.add(lines(d, height, width, 1), tiling);
    steps.add(lines(d, height, width, width), tiling);
    return new Seams(
        10 * Math.log10(4 * LEVELS * LEVELS * d.length / squares),
        sum / d.length,
        largest,
        steps.edge.mean(),
        steps.near.mean(),
        steps.other.mean(),
        shift(d, height, width, tiling));
  }

  /**
   * The mean step to each column (offset 1) or row (offset {@code width}) from the one before.
   *
   * @return one value for every column or row; that of the first is 0
   */
  private static double[] lines(float[] d, int height, int width, int offset) {
    double[] sums = new double[offset == 1 ? width : height];
    for (int i = 0; i < d.length; i++) {
      int line = offset == 1 ? i % width : i / width % height;
      if (line > 0) {
        sums[line] += Math.abs(d[i] - d[i - offset]);
      }
    }
    for (int i = 0; i < sums.length; i++) {
      sums[i] /= d.length / sums.length;
    }
    return sums;
  }

  private static final class Mean {
    private double sum;
    private long count;

    void add(double value) {
      sum += value;
      count++;
    }

    double mean() {
      return sum / count;
    }
  }

  private static final class Steps {
    private final Mean edge = new Mean();
    private final Mean near = new Mean();
    private final Mean other = new Mean();

    void add(double[] lines, Tiling tiling) {
      for (int at = 1; at < lines.length; at++) {
        if (edge(at, lines.length, tiling)) {
          edge.add(lines[at]);
          continue;
        }
        other.add(lines[at]);
        boolean beside = edge(at - 1, lines.length, tiling) || edge(at + 1, lines.length, tiling);
        for (int far = 2; far <= NEAR && !beside; far++) {
          if (edge(at - far, lines.length, tiling) || edge(at + far, lines.length, tiling)) {
            near.add(lines[at]);
            break;
          }
        }
      }
    }
  }

  private static boolean edge(int at, int side, Tiling tiling) {
    int inTile = Math.floorMod(at, tiling.stride());
    boolean overlapped = at >= tiling.stride() && at < side;
    return overlapped && (inTile == 0 || inTile == tiling.tile() - tiling.stride());
  }

  private static double shift(float[] d, int height, int width, Tiling tiling) {
    double largest = 0;
    int overlap = tiling.tile() - tiling.stride();
    for (int c = 0; c < 3; c++) {
      for (int top = 0; top < height; top += tiling.stride()) {
        for (int left = 0; left < width; left += tiling.stride()) {
          Mean mean = new Mean();
          int bottom = Math.min(height, top + tiling.stride());
          int right = Math.min(width, left + tiling.stride());
          for (int y = top == 0 ? 0 : top + overlap; y < bottom; y++) {
            for (int x = left == 0 ? 0 : left + overlap; x < right; x++) {
              mean.add(d[(c * height + y) * width + x]);
            }
          }
          largest = mean.count == 0 ? largest : Math.max(largest, Math.abs(mean.mean()));
        }
      }
    }
    return largest;
  }

  private static double clamp(float value) {
    return Math.max(-1, Math.min(1, value));
  }

  /** The difference, mid grey where there is none, {@code times} as strong. */
  public static RgbImage picture(
      float[] whole, float[] tiled, int height, int width, double times) {
    float[] planes = new float[whole.length];
    for (int i = 0; i < planes.length; i++) {
      planes[i] = (float) (times * (clamp(tiled[i]) - clamp(whole[i])));
    }
    return RgbImage.ofPlanes(planes, height, width);
  }

  @Override
  public String toString() {
    return String.format(
        Locale.ROOT,
        "PSNR %.1f dB; of 255: difference %.4f, largest %.2f, steps across edges %.4f, near them"
            + " %.4f (ratio %.2f), elsewhere %.4f, largest shift of a tile %.4f",
        psnr,
        mean,
        largest,
        edgeSteps,
        nearSteps,
        ratio(),
        otherSteps,
        shift);
  }
}
