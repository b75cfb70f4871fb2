package io.nit.tests.bench;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Half;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.TensorSpec;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.SplittableRandom;

/**
 * A checkpoint of any size without a file: every tensor is made when it is asked for, from a seed
 * of its own, in bf16. Matrices have the variance that keeps that of their input.
 */
public final class RandomWeights implements TensorSource {
  private final Map<String, TensorSpec> specs = new LinkedHashMap<>();

  /** The tensors of a config. */
  public RandomWeights(NitConfig config) {
    NitTensors.of(config, false)
        .forEach((name, spec) -> specs.put(name, new TensorSpec(name, DType.BF16, spec.shape())));
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return specs;
  }

  @Override
  public Map<String, String> metadata() {
    return Map.of();
  }

  @Override
  public HostTensor tensor(String name) {
    TensorSpec spec = specs.get(name);
    long[] dims = spec.shape().dims();
    int count = Math.toIntExact(spec.shape().elements());
    boolean vector = dims.length == 1;
    // A uniform value in [-1, 1) has a variance of 1/3.
    double scale = vector ? 0.02 : Math.sqrt(3.0 * dims[0] / count);
    double offset = vector && name.endsWith("norm.weight") ? 1 : 0;
    SplittableRandom random = new SplittableRandom(name.hashCode());
    ByteBuffer values = ByteBuffer.allocate(2 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      double uniform = (random.nextInt() * 0x1p-31);
      values.putShort(Half.floatToBf16((float) (offset + scale * uniform)));
    }
    return new HostTensor(spec, values.flip());
  }

  @Override
  public String where() {
    return "random weights";
  }

  @Override
  public void close() {}
}
