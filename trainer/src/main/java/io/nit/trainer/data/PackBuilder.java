package io.nit.trainer.data;

import io.nit.core.codec.Tokens;
import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import java.io.IOException;
import java.util.Optional;

/** Puts the images of a pack together. */
final class PackBuilder {
  private PackBuilder() {}

  /** What a pack takes of one image. */
  interface Image {
    /** [C, h·p, w·p], plain or mirrored. */
    float[] latent(boolean mirrored) throws IOException;

    /** The class. */
    long label() throws IOException;

    /** [h·w, zDim] of the picture plain or mirrored; null where the data set has none. */
    float[] features(boolean mirrored) throws IOException;

    /** Whether the image may be mirrored at all. */
    boolean canMirror() throws IOException;
  }

  /** Opens an image of the data set. */
  interface Images {
    Image open(int row) throws IOException;
  }

  /**
   * Builds a pack.
   *
   * @param rows the images' rows
   * @param layout their sizes in tokens
   * @param zDim width of the features, 0 for none
   */
  static TrainingPack build(
      int[] rows,
      PackLayout layout,
      int channels,
      int patchSize,
      int zDim,
      Images images,
      Philox choice)
      throws IOException {
    int tokenSize = channels * patchSize * patchSize;
    float[] latents = new float[Math.multiplyExact(layout.tokens(), tokenSize)];
    float[] features = zDim == 0 ? null : new float[Math.multiplyExact(layout.tokens(), zDim)];
    long[] labels = new long[rows.length];
    for (int i = 0; i < rows.length; i++) {
      Image image = images.open(rows[i]);
      boolean mirrored = choice.uniform(i) < 0.5 && image.canMirror();
      float[] tokens =
          Tokens.patchify(image.latent(mirrored), channels, layout.h(i), layout.w(i), patchSize);
      System.arraycopy(tokens, 0, latents, layout.start(i) * tokenSize, tokens.length);
      labels[i] = image.label();
      if (features != null) {
        float[] own = image.features(mirrored);
        System.arraycopy(own, 0, features, layout.start(i) * zDim, own.length);
      }
    }
    return new TrainingPack(layout, latents, labels, Optional.ofNullable(features), rows.clone());
  }
}
