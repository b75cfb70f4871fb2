/**
 * The training step with its backward written out: {@link io.nit.trainer.fused.FusedNit} computes
 * loss and gradients of a {@link io.nit.trainer.model.NitModel} without autograd, from activations
 * in one compute type and fp32 master weights that lie in one tensor. What is not a matrix product
 * goes through {@link io.nit.trainer.fused.FusedOps}: {@link io.nit.trainer.fused.CudaOps} launches
 * our kernels and FlashAttention, {@link io.nit.trainer.fused.ReferenceOps} says the same in plain
 * libtorch operations and is the oracle, on any device. {@link io.nit.trainer.fused.FusedUpdate}
 * clips, takes the AdamW step, moves the average and rounds the weights in one pass. Nothing in a
 * step waits for the device.
 */
package io.nit.trainer.fused;
