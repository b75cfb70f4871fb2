package io.nit.trainer.data;

import io.nit.core.codec.LatentCodec;
import io.nit.core.image.RgbImage;
import java.util.List;

/** Encodes pictures, plain and mirrored. */
final class PictureLatents {
  private PictureLatents() {}

  /** A picture's latent, [C, H, W]. */
  static float[] encode(LatentCodec codec, RgbImage image) {
    return codec.encode(image.toPlanes(), image.height(), image.width());
  }

  /** A picture's latents plain and mirrored, [2, C, H, W]. */
  static float[] encodeBoth(LatentCodec codec, RgbImage image) {
    List<float[]> latents = codec.encodeBatch(planes(image), image.height(), image.width());
    return both(latents.get(0), latents.get(1));
  }

  /** A picture plain and mirrored, each [3, height, width]. */
  static List<float[]> planes(RgbImage image) {
    return List.of(image.toPlanes(), Resize.mirror(image).toPlanes());
  }

  /** Two latents [C, H, W] as one [2, C, H, W]. */
  static float[] both(float[] plain, float[] mirrored) {
    float[] both = new float[2 * plain.length];
    System.arraycopy(plain, 0, both, 0, plain.length);
    System.arraycopy(mirrored, 0, both, plain.length, plain.length);
    return both;
  }
}
