package io.nit.runtime.engine.ref;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.util.Arrays;
import java.util.stream.IntStream;

/**
 * {@code y = x·Wᵀ + b}, summed in double precision in the order of the inputs, so that a row's
 * result is the same whichever rows stand beside it.
 *
 * @param weight [out, in], where the checkpoint maps it: heap never holds all weights
 * @param bias [out]
 * @param in values of a row of x
 * @param out values of a row of y
 */
record Linear(FloatBuffer weight, float[] bias, int in, int out) {
  private static final int COLUMNS = 64; // outputs a task computes: its weights stay in cache

  /**
   * The layer of the tensors {@code name.weight} (extra extents flattened) and {@code name.bias}.
   */
  static Linear of(TensorSource weights, String name) throws IOException {
    HostTensor weight = weights.tensor(name + ".weight");
    int out = Math.toIntExact(weight.shape().dim(0));
    int in = Math.toIntExact(weight.shape().elements() / out);
    return new Linear(
        weight.to(DType.F32).floats(), weights.tensor(name + ".bias").toFloats(), in, out);
  }

  /** [rows, in] to [rows, out]. */
  float[] forward(float[] x) {
    float[] y = new float[Math.multiplyExact(x.length / in, out)];
    IntStream.range(0, (out + COLUMNS - 1) / COLUMNS)
        .parallel()
        .forEach(block -> columns(x, y, block * COLUMNS, Math.min(out, (block + 1) * COLUMNS)));
    return y;
  }

  /** Columns {@code from} to {@code to} of y. */
  private void columns(float[] x, float[] y, int from, int to) {
    int width = to - from;
    double[] transposed = new double[in * width]; // [in, width]: the inner loop runs along outputs
    float[] row = new float[in];
    for (int o = 0; o < width; o++) {
      weight.get((from + o) * in, row);
      for (int i = 0; i < in; i++) {
        transposed[i * width + o] = row[i];
      }
    }
    double[] sum = new double[width];
    for (int n = 0; n < x.length / in; n++) {
      Arrays.fill(sum, 0);
      for (int i = 0; i < in; i++) {
        double value = x[n * in + i];
        int at = i * width;
        for (int o = 0; o < width; o++) {
          sum[o] += value * transposed[at + o];
        }
      }
      for (int o = 0; o < width; o++) {
        y[n * out + from + o] = (float) (sum[o] + bias[from + o]);
      }
    }
  }
}
