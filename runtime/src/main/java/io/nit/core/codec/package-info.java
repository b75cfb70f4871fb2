/**
 * Pictures to latents and back ({@link io.nit.core.codec.LatentCodec}), and latents to tokens and
 * back ({@link io.nit.core.codec.Tokens}).
 */
package io.nit.core.codec;
