/**
 * Pictures to latents and back ({@link io.nit.core.codec.LatentCodec}), what a manifest says of it
 * ({@link io.nit.core.codec.CodecSpec}), large pictures tile by tile ({@link
 * io.nit.core.codec.Tiling}), and latents to tokens and back ({@link io.nit.core.codec.Tokens}).
 */
package io.nit.core.codec;
