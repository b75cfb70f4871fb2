package io.nit.trainer.model;

import io.nit.core.safetensors.TensorSource;
import java.io.IOException;
import java.util.Map;
import org.bytedeco.pytorch.Tensor;

/** A network as checkpoints, averages and optimizers see it: named float32 parameters. */
public interface Network {
  /** Parameters by checkpoint key, in forward order; owned by the network. */
  Map<String, Tensor> parameters();

  /**
   * Fills the parameters from a checkpoint of this very network.
   *
   * @throws IllegalArgumentException naming what does not fit
   * @throws IOException if the file cannot be read
   */
  void restore(TensorSource source) throws IOException;
}
