/**
 * The oracle: NiT's forward in plain Java, slow and clear, against which exported files and every
 * faster backend are checked. {@link io.nit.runtime.engine.ref.ReferenceEngine} opens a checkpoint,
 * {@code NitForward} is the network as the paper draws it. Values are single precision, every sum
 * runs in double precision, and no image's result depends on what shares its pack. {@link
 * io.nit.runtime.engine.ref.DcAeForward} is the same for the autoencoder.
 */
package io.nit.runtime.engine.ref;
