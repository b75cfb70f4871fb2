package io.nit.trainer.reconstruction;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.trainer.model.Weights;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ReconstructionLossTest {
  private static final Device CPU = new Device("cpu");
  private static final int SIDE = 16;
  private static final int COUNT = 3 * SIDE * SIDE;

  private static float[] random(long seed) {
    Random random = new Random(seed);
    float[] values = new float[COUNT];
    for (int i = 0; i < COUNT; i++) {
      values[i] = 2 * random.nextFloat() - 1;
    }
    return values;
  }

  private static double loss(ReconstructionLoss loss, float[] y, float[] x) {
    try (PointerScope scope = new PointerScope()) {
      return loss.compute(tensor(y), tensor(x)).total().item_double();
    }
  }

  private static Tensor tensor(float[] values) {
    return Weights.tensor(values, CPU, 1, 3, SIDE, SIDE);
  }

  @Test
  void l1AndGradientAreTheirFormulas() {
    float[] x = random(1);
    float[] y = random(2);
    double l1 = 0;
    double[] e = new double[COUNT];
    for (int i = 0; i < COUNT; i++) {
      e[i] = y[i] - x[i];
      l1 += Math.abs(e[i]) / COUNT;
    }
    double gradient = 0;
    int side = SIDE;
    for (int s = 0; s < 4; s++) {
      gradient += differences(e, side) / 4;
      e = halved(e, side);
      side /= 2;
    }
    assertEquals(l1, loss(new ReconstructionLoss(1, 0, 0), y, x), 1e-6);
    assertEquals(gradient, loss(new ReconstructionLoss(0, 1, 0), y, x), 1e-6);
    assertEquals(2 * l1 + 3 * gradient, loss(new ReconstructionLoss(2, 3, 0), y, x), 1e-5);
  }

  private static double differences(double[] e, int side) {
    double down = 0;
    double along = 0;
    for (int c = 0; c < 3; c++) {
      for (int h = 0; h < side; h++) {
        for (int w = 0; w < side; w++) {
          int at = (c * side + h) * side + w;
          down += h + 1 < side ? Math.abs(e[at + side] - e[at]) : 0;
          along += w + 1 < side ? Math.abs(e[at + 1] - e[at]) : 0;
        }
      }
    }
    return (down + along) / (3.0 * side * (side - 1));
  }

  private static double[] halved(double[] e, int side) {
    int half = side / 2;
    double[] means = new double[3 * half * half];
    for (int i = 0; i < means.length; i++) {
      int at = (i / (half * half) * side + 2 * (i / half % half)) * side + 2 * (i % half);
      means[i] = (e[at] + e[at + 1] + e[at + side] + e[at + side + 1]) / 4;
    }
    return means;
  }

  @ParameterizedTest
  @CsvSource({"1, 0, 0", "0, 1, 0", "0, 0, 1", "1, 0.5, 0.2"})
  void gradientsAreThoseOfFiniteDifferences(double l1, double gradient, double ssim) {
    ReconstructionLoss loss = new ReconstructionLoss(l1, gradient, ssim);
    float[] x = random(3);
    float[] y = random(4);
    float[] found;
    try (PointerScope scope = new PointerScope()) {
      Tensor leaf = tensor(y).set_requires_grad(true);
      loss.compute(leaf, tensor(x)).total().backward();
      found = Weights.floats(leaf.grad());
    }
    // Along the gradient and along a random direction: sums over all values, beyond float noise.
    for (float[] direction : new float[][] {found, random(5)}) {
      double length = 0;
      double slope = 0;
      for (int i = 0; i < COUNT; i++) {
        length += direction[i] * direction[i];
        slope += (double) direction[i] * found[i];
      }
      length = Math.sqrt(length);
      double step = 0.02;
      float[] ahead = new float[COUNT];
      float[] behind = new float[COUNT];
      for (int i = 0; i < COUNT; i++) {
        ahead[i] = (float) (y[i] + step * direction[i] / length);
        behind[i] = (float) (y[i] - step * direction[i] / length);
      }
      double measured = (loss(loss, ahead, x) - loss(loss, behind, x)) / (2 * step);
      assertEquals(slope / length, measured, 0.02 * norm(found));
    }
  }

  private static double norm(float[] values) {
    double sum = 0;
    for (float value : values) {
      sum += (double) value * value;
    }
    return Math.sqrt(sum);
  }

  @Test
  void equalPicturesHaveNoLoss() {
    float[] x = random(6);
    assertEquals(0, loss(new ReconstructionLoss(1, 1, 1), x, x), 1e-6);
  }

  @Test
  void weightsBelow0AndNoWeightAtAllAreRefused() {
    IllegalArgumentException negative =
        assertThrows(IllegalArgumentException.class, () -> new ReconstructionLoss(1, -1, 0));
    assertTrue(negative.getMessage().startsWith("--gradient: expected 0 or more, found -1.0"));
    assertThrows(IllegalArgumentException.class, () -> new ReconstructionLoss(0, 0, 0));
  }
}
