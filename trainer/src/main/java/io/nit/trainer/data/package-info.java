/**
 * What training reads: pictures or prepared latents, cut in packs.
 *
 * <p>{@link io.nit.trainer.data.TrainingDataSets#open} looks at a folder and gives the {@link
 * io.nit.trainer.data.TrainingData} that fits it. {@link io.nit.trainer.data.PackOrder} says which
 * pack comes at which place of a run.
 */
package io.nit.trainer.data;
