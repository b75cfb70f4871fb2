/**
 * The network on libtorch. {@link io.nit.trainer.model.NitModel} reads from top to bottom like the
 * paper's figure; its registered module names are the checkpoint keys, so there is no table that
 * maps one to the other. {@link io.nit.trainer.model.PackIndex} is what a forward knows of a pack
 * besides its values, {@link io.nit.trainer.model.AttentionPath} how attention stays within each
 * image, {@link io.nit.trainer.model.Weights} the way in and out of host memory and files. {@link
 * io.nit.trainer.model.Devices} and {@link io.nit.trainer.model.ConvolutionKernels} are what the
 * autoencoder on libtorch shares with it.
 *
 * <p>Native memory: a model owns its modules and is closed; everything made in a forward belongs to
 * the {@code PointerScope} that the caller has open.
 */
package io.nit.trainer.model;
