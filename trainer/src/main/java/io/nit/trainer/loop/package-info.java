/**
 * The training loop: {@link io.nit.trainer.loop.Trainer} takes the steps, {@link
 * io.nit.trainer.loop.Draws} gives every step its random numbers from the seed and the step alone,
 * {@link io.nit.trainer.loop.SampleGrid} draws pictures from the averaged weights on the way, and
 * {@link io.nit.trainer.loop.RunFolder} is the folder that all of it is written to.
 */
package io.nit.trainer.loop;
