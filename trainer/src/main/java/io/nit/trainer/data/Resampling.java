package io.nit.trainer.data;

import io.nit.core.image.RgbImage;
import java.util.Arrays;

/**
 * Resamples 8-bit pictures by a filter whose support grows as the picture shrinks, which is what
 * keeps it free of aliasing; the same numbers as PIL's, which made the authors' data.
 *
 * <p>Legend, for one axis: n source pixels, m target pixels, scale s = max(n/m, 1). Target pixel i
 * has its centre at c = (i + ½)·n/m in the source and is Σ k_j·pixel_j over the source pixels j
 * within s·support of c, k_j = f((j + ½ - c)/s) / Σ f. Rows first, then columns; each pass rounds
 * to 8 bits, with coefficients of 22 fraction bits.
 */
enum Resampling {
  /** Cubic convolution with a = -½, support 2. */
  BICUBIC(2) {
    @Override
    double weight(double at) {
      double x = Math.abs(at);
      if (x < 1) {
        return (1.5 * x - 2.5) * x * x + 1;
      }
      return x < 2 ? ((-0.5 * x + 2.5) * x - 4) * x + 2 : 0;
    }
  },

  /** The mean of the pixels that a target pixel covers, support ½. */
  BOX(0.5) {
    @Override
    double weight(double at) {
      return at > -0.5 && at <= 0.5 ? 1 : 0;
    }
  };

  private static final int FRACTION_BITS = 22;
  private static final int ROUNDING = 1 << FRACTION_BITS - 1;

  private final double support;

  Resampling(double support) {
    this.support = support;
  }

  abstract double weight(double at);

  /** A picture resampled to a size; itself where the size is the same. */
  RgbImage resize(RgbImage image, int width, int height) {
    RgbImage wide = image;
    if (width != image.width()) {
      Taps taps = taps(image.width(), width);
      byte[] out = new byte[bytes(width, image.height())];
      rows(taps, image.rgb(), out, image.height(), image.width());
      wide = new RgbImage(width, image.height(), out);
    }
    if (height == image.height()) {
      return wide;
    }
    Taps taps = taps(image.height(), height);
    byte[] out = new byte[bytes(width, height)];
    columns(taps, wide.rgb(), out, 3 * width);
    return new RgbImage(width, height, out);
  }

  private static int bytes(int width, int height) {
    return Math.multiplyExact(3, Math.multiplyExact(width, height));
  }

  /**
   * Which source pixels make a target pixel.
   *
   * @param first [m] first source pixel
   * @param k [m][taps] fixed-point coefficients
   */
  private record Taps(int[] first, int[][] k) {}

  private Taps taps(int n, int m) {
    double ratio = (double) n / m;
    double s = Math.max(ratio, 1);
    int[] first = new int[m];
    int[][] k = new int[m][];
    for (int i = 0; i < m; i++) {
      double c = (i + 0.5) * ratio;
      int from = Math.max(0, (int) (c - s * support + 0.5));
      int to = Math.min(n, (int) (c + s * support + 0.5));
      double[] weights = new double[to - from];
      double sum = 0;
      for (int j = 0; j < weights.length; j++) {
        weights[j] = weight((j + from - c + 0.5) / s);
        sum += weights[j];
      }
      first[i] = from;
      k[i] = new int[weights.length];
      for (int j = 0; j < weights.length; j++) {
        double fixed = weights[j] / sum * (1 << FRACTION_BITS);
        k[i][j] = (int) (fixed < 0 ? fixed - 0.5 : fixed + 0.5);
      }
    }
    return new Taps(first, k);
  }

  private static void rows(Taps taps, byte[] in, byte[] out, int lines, int n) {
    int m = taps.first.length;
    for (int line = 0; line < lines; line++) {
      for (int i = 0; i < m; i++) {
        int[] k = taps.k[i];
        int at = 3 * (line * n + taps.first[i]);
        int red = ROUNDING;
        int green = ROUNDING;
        int blue = ROUNDING;
        for (int j = 0; j < k.length; j++) {
          red += (in[at] & 0xff) * k[j];
          green += (in[at + 1] & 0xff) * k[j];
          blue += (in[at + 2] & 0xff) * k[j];
          at += 3;
        }
        int to = 3 * (line * m + i);
        out[to] = clip(red);
        out[to + 1] = clip(green);
        out[to + 2] = clip(blue);
      }
    }
  }

  /** Down the columns, a whole row of sums at a time, so that memory is read in order. */
  private static void columns(Taps taps, byte[] in, byte[] out, int line) {
    int[] sums = new int[line];
    for (int i = 0; i < taps.first.length; i++) {
      Arrays.fill(sums, ROUNDING);
      int[] k = taps.k[i];
      for (int j = 0; j < k.length; j++) {
        int at = (taps.first[i] + j) * line;
        for (int x = 0; x < line; x++) {
          sums[x] += (in[at + x] & 0xff) * k[j];
        }
      }
      for (int x = 0; x < line; x++) {
        out[i * line + x] = clip(sums[x]);
      }
    }
  }

  private static byte clip(int sum) {
    return (byte) Math.max(0, Math.min(255, sum >> FRACTION_BITS));
  }
}
