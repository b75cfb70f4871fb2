/**
 * Checkpoints of a training: a folder of safetensors files and {@code state.json}, written whole or
 * not at all. {@link io.nit.trainer.checkpoint.CheckpointStore} keeps the last few of a run and
 * finds the newest complete one; {@link io.nit.trainer.checkpoint.Checkpoint} is one of them;
 * {@link io.nit.trainer.checkpoint.TrainingState} is what stands in {@code state.json}. {@link
 * io.nit.trainer.checkpoint.CheckpointWriter} writes them beside the steps, from a {@link
 * io.nit.trainer.checkpoint.Snapshot} in host memory. A resumed run takes the same steps as an
 * unbroken one, bit for bit on one CPU thread.
 */
package io.nit.trainer.checkpoint;
