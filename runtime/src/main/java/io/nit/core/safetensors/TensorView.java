package io.nit.core.safetensors;

import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.util.Map;

/**
 * Another source's tensors; what a subclass overrides is different, all else is as there. Closing a
 * view leaves the source to whoever opened it.
 */
public abstract class TensorView implements TensorSource {
  private final TensorSource from;

  /** A view of {@code from}. */
  protected TensorView(TensorSource from) {
    this.from = from;
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return from.specs();
  }

  @Override
  public Map<String, String> metadata() {
    return from.metadata();
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    return from.tensor(name);
  }

  @Override
  public String where() {
    return from.where();
  }

  @Override
  public final void close() {}
}
