package io.nit.testing;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.TensorSpec;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A checkpoint of any config whose values follow from a formula, so that tests need no file and
 * other languages can make the same numbers. Every value is {@link #uniform}{@code (k, i)} of
 * tensor k in forward order and element i, in double precision, then scaled: matrices by {@code
 * 2/sqrt(inputs)}, the label table by 1, other vectors by 0.2; norm weights are 1 more.
 */
public final class SyntheticWeights implements TensorSource {
  private final Map<String, HostTensor> tensors = new LinkedHashMap<>();
  private final Map<String, TensorSpec> specs;

  /** The tensors of a config. */
  public SyntheticWeights(NitConfig config, boolean projector) {
    specs = Collections.unmodifiableMap(NitTensors.of(config, projector));
    int k = 0;
    for (TensorSpec spec : specs.values()) {
      long[] dims = spec.shape().dims();
      boolean table = spec.name().equals("y_embedder.embedding_table.weight");
      double scale =
          dims.length == 1
              ? 0.2
              : table ? 1 : 2 / Math.sqrt((double) spec.shape().elements() / dims[0]);
      double offset = dims.length == 1 && spec.name().endsWith("weight") ? 1 : 0;
      float[] values = new float[Math.toIntExact(spec.shape().elements())];
      for (int i = 0; i < values.length; i++) {
        values[i] = (float) (offset + scale * uniform(k, i));
      }
      tensors.put(spec.name(), HostTensor.of(spec.name(), values, dims));
      k++;
    }
  }

  /** A value in [-1, 1) from two numbers, the same in every language with 32-bit integers. */
  public static double uniform(int k, int i) {
    int bits = i * 0x9E3779B1 + k * 0x85EBCA77;
    bits = (bits ^ bits >>> 15) * 0x2C1B3C6D;
    bits = (bits ^ bits >>> 12) * 0x297A2D39;
    bits ^= bits >>> 15;
    return (bits & 0xffffffffL) * 0x1p-31 - 1;
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
    return tensors.get(name);
  }

  @Override
  public String where() {
    return "synthetic weights";
  }

  @Override
  public void close() {}
}
