/**
 * The learned autoencoder on libtorch. {@link io.nit.trainer.autoencoder.DcAe} reads from top to
 * bottom like the figure: what stages are built of, encoder, decoder; its registered module names
 * are diffusers' checkpoint keys. {@link io.nit.trainer.autoencoder.Precision} is the type a
 * network computes in, {@link io.nit.trainer.autoencoder.DcAeInitializer} the start of a training,
 * {@link io.nit.trainer.autoencoder.DcAeCodec} the codec that turns pictures into latents and back.
 *
 * <p>Native memory: a model and a codec own theirs and are closed. A forward frees what it makes as
 * it goes, block by block; its result belongs to the {@code PointerScope} that the caller has open.
 */
package io.nit.trainer.autoencoder;
