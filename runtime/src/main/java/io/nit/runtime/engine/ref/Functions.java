package io.nit.runtime.engine.ref;

import java.util.function.DoubleUnaryOperator;
import java.util.stream.IntStream;

/** The functions between the network's Linears, on rows of [rows, width]. */
final class Functions {
  private static final double SQRT_2_OVER_PI = Math.sqrt(2 / Math.PI);

  private Functions() {}

  /** x·sigmoid(x), in a new array. */
  static float[] silu(float[] x) {
    return map(x, v -> v / (1 + Math.exp(-v)));
  }

  /** max(x, 0), in a new array. */
  static float[] relu(float[] x) {
    return map(x, v -> Math.max(v, 0));
  }

  /** GELU in its tanh form, in a new array. */
  static float[] geluTanh(float[] x) {
    return map(x, v -> 0.5 * v * (1 + Math.tanh(SQRT_2_OVER_PI * (v + 0.044715 * v * v * v))));
  }

  private static float[] map(float[] x, DoubleUnaryOperator function) {
    float[] y = new float[x.length];
    IntStream.range(0, x.length)
        .parallel()
        .forEach(i -> y[i] = (float) function.applyAsDouble(x[i]));
    return y;
  }

  /** Row {@code at / width} of x to mean 0 and variance 1, without affine, into {@code y}. */
  static void layerNorm(float[] x, int at, int width, double epsilon, double[] y) {
    double mean = 0;
    for (int i = 0; i < width; i++) {
      mean += x[at + i];
    }
    mean /= width;
    double variance = 0;
    for (int i = 0; i < width; i++) {
      variance += (x[at + i] - mean) * (x[at + i] - mean);
    }
    double scale = 1 / Math.sqrt(variance / width + epsilon);
    for (int i = 0; i < width; i++) {
      y[i] = (x[at + i] - mean) * scale;
    }
  }

  /**
   * {@code LN(x)·(1 + scale) + shift} with each token's image's modulation.
   *
   * @param x [N, D]
   * @param modulation [B, chunks·D]
   * @param shift which chunk of D shifts; the next one scales
   * @return [N, D]
   */
  static float[] normModulate(
      float[] x, int width, float[] modulation, int chunks, int shift, int[] imageIndex) {
    float[] y = new float[x.length];
    IntStream.range(0, imageIndex.length)
        .parallel()
        .forEach(
            n -> {
              double[] normed = new double[width];
              layerNorm(x, n * width, width, 1e-6, normed);
              int at = (imageIndex[n] * chunks + shift) * width;
              for (int i = 0; i < width; i++) {
                y[n * width + i] =
                    (float) (normed[i] * (1.0 + modulation[at + width + i]) + modulation[at + i]);
              }
            });
    return y;
  }

  /** {@code x + gate·y} with each token's image's gate, in a new array; letters as above. */
  static float[] gatedResidual(
      float[] x, float[] y, int width, float[] modulation, int chunks, int gate, int[] imageIndex) {
    float[] sum = new float[x.length];
    for (int n = 0; n < imageIndex.length; n++) {
      int at = (imageIndex[n] * chunks + gate) * width;
      for (int i = 0; i < width; i++) {
        sum[n * width + i] =
            (float) (x[n * width + i] + (double) modulation[at + i] * y[n * width + i]);
      }
    }
    return sum;
  }
}
