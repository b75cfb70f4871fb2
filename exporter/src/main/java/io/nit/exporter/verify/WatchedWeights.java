package io.nit.exporter.verify;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.safetensors.TensorView;
import io.nit.core.tensor.HostTensor;
import java.io.IOException;

/**
 * A checkpoint that asks whether to go on before each tensor that is read: what computes straight
 * from it ends between two layers.
 */
final class WatchedWeights extends TensorView {
  private final Runnable goOn;

  /**
   * Watches a checkpoint.
   *
   * @param goOn throws where the work is to end
   */
  WatchedWeights(TensorSource from, Runnable goOn) {
    super(from);
    this.goOn = goOn;
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    goOn.run();
    return super.tensor(name);
  }
}
