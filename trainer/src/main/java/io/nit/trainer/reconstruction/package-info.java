/**
 * Training of the learned autoencoder: {@link io.nit.trainer.reconstruction.ReconstructionTrainer}
 * takes the steps on {@link io.nit.trainer.reconstruction.RandomCrops} of a folder's pictures,
 * {@link io.nit.trainer.reconstruction.ReconstructionLoss} is what it minimises, and {@link
 * io.nit.trainer.reconstruction.Validation} measures {@link io.nit.trainer.reconstruction.Quality}
 * on pictures that were held out, draws them and finds the latents' scale.
 */
package io.nit.trainer.reconstruction;
