package io.nit.tests.bench;

import io.nit.core.codec.Tiling;
import io.nit.core.image.RgbImage;
import java.util.Locale;

/**
 * How far a tiled decode is from the whole one, and whether the tiles' borders show in the
 * difference.
 *
 * <p>Legend: d = tiled - whole, in levels of 8 bit. A strip is what lies up to 16 pixels from where
 * a tile begins or ends, inside the overlap: there a tile sees zeros where the picture goes on.
 * Beside a strip are the 32 pixels next to it on either side, which show much the same of the
 * picture; a seam makes strips stand out from them.
 *
 * @param psnr of the tiled picture against the whole one, on [-1, 1] clamped, in dB
 * @param mean |d|
 * @param largest |d|
 * @param strips mean |d| in strips
 * @param beside mean |d| beside strips
 * @param largestLine largest mean |d| of a column or row of pixels in a strip
 */
public record Seams(
    double psnr, double mean, double largest, double strips, double beside, double largestLine) {
  private static final double LEVELS = 127.5;
  private static final int STRIP = 16;
  private static final int BESIDE = 32;

  /**
   * Measures.
   *
   * @param whole [3, height, width], decoded whole
   * @param tiled [3, height, width], decoded in tiles
   */
  public static Seams of(float[] whole, float[] tiled, int height, int width, Tiling tiling) {
    double[] columns = new double[width]; // mean |d|
    double[] rows = new double[height];
    double sum = 0;
    double squares = 0;
    double largest = 0;
    for (int i = 0; i < whole.length; i++) {
      double d = LEVELS * Math.abs(clamp(tiled[i]) - clamp(whole[i]));
      sum += d;
      squares += d * d;
      largest = Math.max(largest, d);
      columns[i % width] += d / (3 * height);
      rows[i / width % height] += d / (3 * width);
    }
    Lines lines = new Lines();
    lines.add(columns, tiling);
    lines.add(rows, tiling);
    return new Seams(
        10 * Math.log10(4 * LEVELS * LEVELS * whole.length / squares),
        sum / whole.length,
        largest,
        lines.strips / lines.inStrips,
        lines.beside / lines.besideStrips,
        lines.largest);
  }

  private static final class Lines {
    private double strips;
    private int inStrips;
    private double beside;
    private int besideStrips;
    private double largest;

    void add(double[] lines, Tiling tiling) {
      boolean[] strip = new boolean[lines.length];
      boolean[] near = new boolean[lines.length];
      for (int begin = tiling.stride(); begin < lines.length; begin += tiling.stride()) {
        int end = begin + tiling.tile() - tiling.stride(); // of the tile before
        mark(strip, begin, begin + STRIP);
        mark(strip, end - STRIP, end);
        mark(near, begin - BESIDE, begin + STRIP + BESIDE);
        mark(near, end - STRIP - BESIDE, end + BESIDE);
      }
      for (int i = 0; i < lines.length; i++) {
        if (strip[i]) {
          strips += lines[i];
          inStrips++;
          largest = Math.max(largest, lines[i]);
        } else if (near[i]) {
          beside += lines[i];
          besideStrips++;
        }
      }
    }

    private static void mark(boolean[] lines, int from, int to) {
      for (int i = Math.max(0, from); i < Math.min(lines.length, to); i++) {
        lines[i] = true;
      }
    }
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
        "PSNR %.1f dB; of 255: difference %.4f, largest %.2f; strips at borders %.4f, beside them"
            + " %.4f, largest line %.4f",
        psnr,
        mean,
        largest,
        strips,
        beside,
        largestLine);
  }
}
