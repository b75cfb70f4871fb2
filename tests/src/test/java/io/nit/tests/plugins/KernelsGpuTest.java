package io.nit.tests.plugins;

import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.core.cuda.NitKernels;
import io.nit.core.cuda.PluginLibrary;
import io.nit.testing.Errors;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The kernels from Java on libtorch's tensors, against double precision. */
@Tag("gpu")
class KernelsGpuTest {
  private static final int[] LENGTHS = {1, 63, 64, 65, 97, 257};
  private static final int HEADS = 2;
  private static final int HEAD_DIM = 72;
  private static final int WIDTH = HEADS * HEAD_DIM;

  private static NitKernels kernels;
  private static Device cuda;

  @BeforeAll
  static void needsAGpuAndTheLibrary() throws IOException {
    boolean built =
        KernelsGpuTest.class.getClassLoader().getResource(PluginLibrary.RESOURCE) != null
            || System.getProperty(PluginLibrary.LIBRARY_PROPERTY) != null;
    String reason =
        !torch.cuda_is_available()
            ? "libtorch finds no CUDA device"
            : built ? "" : "plugins-trt was built without nvcc";
    if (!reason.isEmpty()) {
      System.out.println("KernelsGpuTest skipped: " + reason);
    }
    assumeTrue(reason.isEmpty(), reason);
    kernels = NitKernels.load();
    cuda = new Device("cuda");
    System.out.println(kernels.library());
  }

  @ParameterizedTest
  @EnumSource(NitKernels.Path.class)
  void attentionOnAPackedBufferIsThatOfEachImage(NitKernels.Path path) {
    int tokens = 0;
    long[] cuSeqlens = new long[LENGTHS.length + 1];
    for (int i = 0; i < LENGTHS.length; i++) {
      tokens += LENGTHS[i];
      cuSeqlens[i + 1] = tokens;
    }
    Random random = new Random(1);
    float[] values = new float[tokens * 3 * WIDTH];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) random.nextGaussian();
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor qkv =
          Weights.tensor(values, cuda, tokens, 3L * WIDTH).to(ScalarType.BFloat16).contiguous();
      Tensor out = qkv.narrow(1, 0, WIDTH).contiguous().fill_(new Scalar(Float.NaN));
      // On the default stream, in order with libtorch's own work.
      Tensor lengths = Weights.indices(cuSeqlens, cuda).to(ScalarType.Int);
      long base = qkv.data_ptr().address();
      kernels.varlenAttention(
          base,
          base + 2L * WIDTH,
          base + 4L * WIDTH,
          out.data_ptr().address(),
          0,
          lengths.data_ptr().address(),
          tokens,
          LENGTHS.length,
          HEADS,
          HEAD_DIM,
          3L * WIDTH,
          WIDTH,
          0,
          NitKernels.BF16,
          path,
          0);
      float[] rounded = Weights.floats(qkv.to(ScalarType.Float));
      double error = Errors.relative(Weights.floats(out.to(ScalarType.Float)), expected(rounded));
      assertTrue(error < 4e-3, path + ": relative error " + error);
    }
  }

  private static float[] expected(float[] qkv) {
    float[] out = new float[qkv.length / 3];
    int first = 0;
    for (int length : LENGTHS) {
      for (int head = 0; head < HEADS; head++) {
        for (int i = first; i < first + length; i++) {
          double[] weights = new double[length];
          double sum = 0;
          for (int j = 0; j < length; j++) {
            double score = 0;
            for (int c = 0; c < HEAD_DIM; c++) {
              score += (double) at(qkv, i, 0, head, c) * at(qkv, first + j, 1, head, c);
            }
            weights[j] = Math.exp(score / Math.sqrt(HEAD_DIM));
            sum += weights[j];
          }
          for (int c = 0; c < HEAD_DIM; c++) {
            double value = 0;
            for (int j = 0; j < length; j++) {
              value += weights[j] / sum * at(qkv, first + j, 2, head, c);
            }
            out[i * WIDTH + head * HEAD_DIM + c] = (float) value;
          }
        }
      }
      first += length;
    }
    return out;
  }

  private static float at(float[] qkv, int token, int which, int head, int column) {
    return qkv[(token * 3 + which) * WIDTH + head * HEAD_DIM + column];
  }
}
