package io.nit.trainer.reconstruction;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;

import io.nit.trainer.model.Weights;
import java.util.Arrays;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class QualityTest {
  private static final Device CPU = new Device("cpu");
  private static final double C1 = 1e-4;
  private static final double C2 = 9e-4;

  private PointerScope scope;

  @BeforeEach
  void open() {
    scope = new PointerScope();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private static Tensor filled(double value, long... dims) {
    float[] values = new float[(int) Arrays.stream(dims).reduce(1, (a, b) -> a * b)];
    Arrays.fill(values, (float) value);
    return Weights.tensor(values, CPU, dims);
  }

  private static float[] random(long seed, int count) {
    Random random = new Random(seed);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = random.nextFloat();
    }
    return values;
  }

  @Test
  void psnrIsThatOfEachPicturesSquaredError() {
    // The first picture is off by 0.1 everywhere: 20 dB. The second by 0.5 in one of 12 values:
    // -10·log10(0.25/12) = 16.8124 dB.
    float[] y = new float[24];
    Arrays.fill(y, 0, 12, 0.1f);
    y[12] = 0.5f;
    Tensor psnr = Quality.psnr(filled(0, 2, 3, 2, 2), Weights.tensor(y, CPU, 2, 3, 2, 2));
    assertArrayEquals(new float[] {20f, 16.8124f}, Weights.floats(psnr), 1e-4f);
  }

  @Test
  void equalPicturesHaveAPsnrOf100AndAnSsimOf1() {
    Tensor x = Weights.tensor(random(1, 3 * 12 * 13), CPU, 1, 3, 12, 13);
    assertEquals(100, Quality.psnr(x, x).item_double(), 1e-4);
    assertEquals(1, Quality.ssim(x, x).item_double(), 1e-6);
  }

  @Test
  void ssimOfFlatPicturesIsThatOfTheirMeans() {
    double found =
        Quality.ssim(filled(0.5, 1, 3, 16, 16), filled(0.75, 1, 3, 16, 16)).item_double();
    assertEquals((2 * 0.5 * 0.75 + C1) / (0.25 + 0.5625 + C1), found, 1e-4);
  }

  @Test
  void ssimOfTheSmallestPictureIsThatOfOneWindow() {
    float[] x = random(2, 3 * 121);
    float[] y = random(3, 3 * 121);
    double expected = 0;
    for (int c = 0; c < 3; c++) {
      expected += window(x, y, c * 121) / 3;
    }
    Tensor found =
        Quality.ssim(Weights.tensor(x, CPU, 1, 3, 11, 11), Weights.tensor(y, CPU, 1, 3, 11, 11));
    assertEquals(expected, found.item_double(), 1e-5);
  }

  /** The formula in doubles, variances as means of squared deviations. */
  private static double window(float[] x, float[] y, int at) {
    double[] weights = new double[121];
    double total = 0;
    for (int i = 0; i < 121; i++) {
      double h = i / 11 - 5;
      double w = i % 11 - 5;
      weights[i] = Math.exp(-(h * h + w * w) / 4.5);
      total += weights[i];
    }
    double mx = 0;
    double my = 0;
    for (int i = 0; i < 121; i++) {
      weights[i] /= total;
      mx += weights[i] * x[at + i];
      my += weights[i] * y[at + i];
    }
    double vx = 0;
    double vy = 0;
    double cov = 0;
    for (int i = 0; i < 121; i++) {
      vx += weights[i] * (x[at + i] - mx) * (x[at + i] - mx);
      vy += weights[i] * (y[at + i] - my) * (y[at + i] - my);
      cov += weights[i] * (x[at + i] - mx) * (y[at + i] - my);
    }
    return (2 * mx * my + C1) * (2 * cov + C2) / ((mx * mx + my * my + C1) * (vx + vy + C2));
  }
}
