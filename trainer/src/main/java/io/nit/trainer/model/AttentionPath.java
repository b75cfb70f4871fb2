package io.nit.trainer.model;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** How {@code softmax(q·kᵀ/√headDim)·v} is computed within each image of a pack, and only there. */
@FunctionalInterface
public interface AttentionPath {
  /**
   * Attends; differentiable.
   *
   * @param q queries, normalised and rotated, [tokens, heads, headDim]
   * @param k keys, likewise
   * @param v values, [tokens, heads, headDim]
   * @return [tokens, heads, headDim]
   */
  Tensor attend(Tensor q, Tensor k, Tensor v, PackIndex pack);

  /** The path for a device; says in the log which and why. */
  static AttentionPath forDevice(Device device) {
    Logger log = LoggerFactory.getLogger(AttentionPath.class);
    log.info(
        "attention: {}, as libtorch's kernels for {} take batches of one length",
        RunAttention.class.getSimpleName(),
        device.is_cuda() ? "CUDA" : "CPU");
    return new RunAttention();
  }
}
