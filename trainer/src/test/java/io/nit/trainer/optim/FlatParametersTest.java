package io.nit.trainer.optim;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.trainer.model.Weights;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

class FlatParametersTest {
  private static final Device CPU = new Device("cpu");
  private static final AdamW.Options OPTIONS = new AdamW.Options(0.9, 0.99, 1e-8, 0.1);

  private PointerScope scope;

  @BeforeEach
  void open() {
    scope = new PointerScope();
  }

  @AfterEach
  void close() {
    scope.close();
  }

  private static Map<String, Tensor> parameters() {
    Random random = new Random(1);
    Map<String, Tensor> all = new LinkedHashMap<>();
    for (long[] dims : new long[][] {{3, 5}, {1}, {2, 2, 3, 3}, {64}}) {
      Tensor t = Weights.tensor(values(random, dims), CPU, dims);
      all.put("p" + all.size(), t.set_requires_grad(true));
    }
    return all;
  }

  private static float[] values(Random random, long... dims) {
    int count = 1;
    for (long dim : dims) {
      count *= (int) dim;
    }
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  /** Σ (p - target)², with targets that follow from the step. */
  private static void backward(Map<String, Tensor> parameters, int step) {
    Random random = new Random(step);
    for (Tensor p : parameters.values()) {
      Tensor target = Weights.tensor(values(random, p.shape()), CPU, p.shape());
      p.sub(target).square().sum().backward();
    }
  }

  @Test
  void stepsOnOneTensorAreThoseOnEachParameter() {
    Map<String, Tensor> each = parameters();
    Map<String, Tensor> together = parameters();
    Tensor one = Weights.tensor(new float[] {1}, CPU, 1).squeeze();
    try (FlatParameters flat = new FlatParameters(together, true);
        AdamW plain = new AdamW(each, OPTIONS);
        AdamW onDevice = new AdamW(flat, OPTIONS)) {
      for (int step = 0; step < 5; step++) {
        each.values().forEach(p -> p.mutable_grad().reset());
        flat.values().grad().zero_();
        backward(each, step);
        backward(together, step);
        plain.step(0.01);
        onDevice.step(0.01, one);
      }
      assertEquals(5, onDevice.steps());
      each.forEach(
          (name, p) -> {
            float[] expected = Weights.floats(p);
            assertArrayEquals(expected, Weights.floats(together.get(name)), 1e-5f, name);
            float[] m = Weights.floats(plain.expAvg().get(name));
            assertArrayEquals(m, Weights.floats(onDevice.expAvg().get(name)), 1e-5f, name);
            float[] v = Weights.floats(plain.expAvgSq().get(name));
            assertArrayEquals(v, Weights.floats(onDevice.expAvgSq().get(name)), 1e-5f, name);
          });
    }
  }

  @Test
  void aStepThatIsNotGoodChangesNothingAndIsNotCounted() {
    Map<String, Tensor> parameters = parameters();
    Tensor zero = Weights.tensor(new float[] {0}, CPU, 1).squeeze();
    try (FlatParameters flat = new FlatParameters(parameters, true);
        AdamW optimizer = new AdamW(flat, OPTIONS)) {
      float[] before = Weights.floats(flat.values());
      backward(parameters, 1);
      optimizer.step(0.01, zero);
      assertArrayEquals(before, Weights.floats(flat.values()));
      assertEquals(0, optimizer.steps());
      optimizer.expAvg().values().forEach(m -> assertEquals(0, m.abs().sum().item_double()));
      optimizer.restoreSteps(4);
      optimizer.step(0.01, zero.add(new Scalar(1f)));
      assertEquals(5, optimizer.steps());
    }
  }

  @Test
  void parametersKeepTheirValuesAndNamesAndOutliveTheTensor() {
    Map<String, Tensor> plain = parameters();
    Map<String, Tensor> moved = parameters();
    FlatParameters flat = new FlatParameters(moved, false);
    flat.close();
    flat.close();
    assertThrows(IllegalStateException.class, flat::values);
    plain.forEach(
        (name, p) -> assertArrayEquals(Weights.floats(p), Weights.floats(moved.get(name)), name));
  }

  @Test
  void theParametersOwnMemoryIsGivenBack() {
    Map<String, Tensor> parameters = parameters();
    Map<String, Tensor> holders = new LinkedHashMap<>();
    parameters.forEach((name, p) -> holders.put(name, p.detach()));
    Map<String, Long> before = new LinkedHashMap<>();
    holders.forEach((name, holder) -> before.put(name, holder.storage().use_count()));
    try (FlatParameters flat = new FlatParameters(parameters, true)) {
      holders.forEach(
          (name, holder) -> assertEquals(before.get(name) - 1, holder.storage().use_count(), name));
      assertEquals(64 * 4, flat.values().numel());
    }
  }
}
