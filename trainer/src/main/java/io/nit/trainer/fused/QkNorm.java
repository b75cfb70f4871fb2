package io.nit.trainer.fused;

import org.bytedeco.pytorch.Tensor;

/**
 * Weights and biases of the norms on q and k, or their gradients; each [headDim].
 *
 * @param qWeight of q
 * @param qBias of q
 * @param kWeight of k
 * @param kBias of k
 */
public record QkNorm(Tensor qWeight, Tensor qBias, Tensor kWeight, Tensor kBias) {}
