package io.nit.exporter.verify;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.util.Map;

/**
 * A checkpoint that asks whether to go on before each tensor that is read: what computes straight
 * from it ends between two layers.
 *
 * @param from the checkpoint, which stays its opener's to close
 * @param goOn throws where the work is to end
 */
record WatchedWeights(TensorSource from, Runnable goOn) implements TensorSource {
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
    goOn.run();
    return from.tensor(name);
  }

  @Override
  public String where() {
    return from.where();
  }

  /** Leaves the checkpoint to whoever opened it. */
  @Override
  public void close() {}
}
