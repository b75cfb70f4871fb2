package io.nit.trainer.data;

import io.nit.core.codec.LatentCodec;
import io.nit.core.image.RgbImage;

/** Encodes pictures, plain and mirrored. */
final class PictureLatents {
  private PictureLatents() {}

  /** A picture's latent, [C, H, W]. */
  static float[] encode(LatentCodec codec, RgbImage image) {
    return codec.encode(image.toPlanes(), image.height(), image.width());
  }

  /** A picture's latents plain and mirrored, [2, C, H, W]. */
  static float[] encodeBoth(LatentCodec codec, RgbImage image) {
    float[] plain = encode(codec, image);
    float[] mirrored = encode(codec, Resize.mirror(image));
    float[] both = new float[2 * plain.length];
    System.arraycopy(plain, 0, both, 0, plain.length);
    System.arraycopy(mirrored, 0, both, plain.length, plain.length);
    return both;
  }
}
