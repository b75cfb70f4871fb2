/**
 * What training reads: pictures or prepared latents, cut in packs.
 *
 * <p>{@link io.nit.trainer.data.TrainingDataSets#open} looks at a folder and gives the {@link
 * io.nit.trainer.data.TrainingData} that fits it; {@link io.nit.trainer.data.PackOrder} says which
 * pack comes at which place of a run, {@link io.nit.trainer.data.PrefetchingLoader} reads them
 * ahead. {@link io.nit.trainer.data.LatentPreparer} turns the one kind of folder into the other.
 *
 * <p>A picture's way: {@link io.nit.trainer.data.ImageFile} decodes it, {@link
 * io.nit.trainer.data.Resize} brings it to its size, the codec encodes it, {@link
 * io.nit.trainer.data.TrainingPack} holds its tokens.
 */
package io.nit.trainer.data;
