package io.nit.core.codec;

import com.fasterxml.jackson.databind.node.ObjectNode;

/**
 * Turns pictures into latents and back. Pixels are RGB planes in [-1, 1], [3, H, W]; latents are
 * [channels, H/factor, W/factor], scaled so that the model sees values of about unit spread.
 * Implementations are safe for several threads.
 */
public interface LatentCodec extends AutoCloseable {
  /** The name in manifests, for example {@code space-to-depth}. */
  String type();

  /** Pixels a latent pixel spans on each axis; image sides are multiples of it. */
  int factor();

  /** Latent channels, the model's {@code in_channels}. */
  int channels();

  /**
   * Encodes one picture.
   *
   * @param rgb [3, height, width] in [-1, 1]
   * @param height pixels, a multiple of {@link #factor}
   * @param width pixels, a multiple of {@link #factor}
   * @return [channels, height/factor, width/factor]
   * @throws IllegalArgumentException if a side is no multiple of the factor
   */
  float[] encode(float[] rgb, int height, int width);

  /**
   * Decodes one latent.
   *
   * @param latent [channels, latentH, latentW]
   * @return [3, latentH·factor, latentW·factor], about [-1, 1], not clamped
   */
  float[] decode(float[] latent, int latentH, int latentW);

  /** The manifest entry that {@link Codecs#of} makes this codec from again. */
  ObjectNode toNode();

  /** Frees what the codec holds; nothing for a plain one. Safe to call twice. */
  @Override
  default void close() {}
}
