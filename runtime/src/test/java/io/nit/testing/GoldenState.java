package io.nit.testing;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;

/** The weights among the golden numbers, {@code state.*}, as the checkpoint they are. */
public final class GoldenState implements TensorSource {
  private static final String PREFIX = "state.";

  private final TensorSource golden;
  private final Map<String, TensorSpec> specs = new LinkedHashMap<>();

  /** A view of {@code golden}, which stays open as long as this is used. */
  public GoldenState(TensorSource golden) {
    this.golden = golden;
    golden
        .specs()
        .forEach(
            (key, spec) -> {
              if (key.startsWith(PREFIX)) {
                String name = key.substring(PREFIX.length());
                specs.put(name, new TensorSpec(name, spec.dtype(), spec.shape()));
              }
            });
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return Collections.unmodifiableMap(specs);
  }

  @Override
  public Map<String, String> metadata() {
    return golden.metadata();
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    return golden.tensor(PREFIX + name).renamed(name);
  }

  @Override
  public String where() {
    return golden.where();
  }

  /** Leaves the golden numbers open. */
  @Override
  public void close() {}
}
