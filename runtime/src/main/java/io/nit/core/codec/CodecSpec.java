package io.nit.core.codec;

import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Optional;

/**
 * What turns pictures into latents and back, as manifests and checkpoints name it. A {@link
 * LatentCodec} is one at work; a learned one needs its weights for that.
 */
public sealed interface CodecSpec permits SpaceToDepthCodec, DcAeSpec {
  /** The name in manifests, for example {@code space-to-depth}. */
  String type();

  /** Pixels a latent pixel spans on each axis; image sides are multiples of it. */
  int factor();

  /** Latent channels, the model's {@code in_channels}. */
  int channels();

  /** The codec at work where that needs no weights; it owns nothing. */
  Optional<LatentCodec> plain();

  /** The manifest entry that {@link Codecs#of} makes this from again. */
  ObjectNode toNode();

  /** In a few words, for logs and messages. */
  String describe();
}
