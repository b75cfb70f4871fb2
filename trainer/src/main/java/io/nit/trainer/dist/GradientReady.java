package io.nit.trainer.dist;

/**
 * Told during a backward which part of the flat gradient is final, so that it can be summed over
 * the processes while the rest is computed. Parts come in backward order, from the last block to
 * the embedders and in each block from the MLP to the modulation, do not overlap and cover all
 * elements once.
 */
@FunctionalInterface
public interface GradientReady {
  /** For a step whose gradients nobody waits for. */
  GradientReady NOBODY = (fromElement, toElement) -> {};

  /**
   * The work that makes elements {@code [fromElement, toElement)} final is queued on the device.
   *
   * @param fromElement first element of the flat gradient
   * @param toElement the one after the last
   */
  void ready(long fromElement, long toElement);
}
