/**
 * What changes the weights: {@link io.nit.trainer.optim.AdamW}, {@link
 * io.nit.trainer.optim.GradNorm} clipping, the exponential moving average {@link
 * io.nit.trainer.optim.Ema} and the learning-rate schedules {@link
 * io.nit.trainer.optim.LearningRate}. Their whole state is tensors and a step count, so that it can
 * be saved and restored exactly.
 */
package io.nit.trainer.optim;
