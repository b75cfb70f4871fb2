package io.nit.trainer.data;

import io.nit.core.packing.PackLayout;
import java.util.Optional;

/**
 * One pack of images, ready for a training step. The arrays are not copied and belong to whoever
 * loaded the pack.
 *
 * <p>Legend: B images, N tokens.
 *
 * @param layout sizes of the images in tokens, in pack order
 * @param latents [N, C, p, p], row-major, image after image
 * @param labels [B], each in {@code 0..classes-1}; never the null class
 * @param features [N, zDim], the REPA targets of the tokens, where the data set has them
 * @param rows [B], the images' rows in the data set, for reports
 */
public record TrainingPack(
    PackLayout layout, float[] latents, long[] labels, Optional<float[]> features, int[] rows) {
  /**
   * Checks the lengths.
   *
   * @throws IllegalArgumentException if an array does not fit the layout
   */
  public TrainingPack {
    if (labels.length != layout.images() || rows.length != layout.images()) {
      throw new IllegalArgumentException(
          "pack: expected labels and rows of "
              + layout.images()
              + " images, found "
              + labels.length
              + " and "
              + rows.length);
    }
    if (latents.length == 0 || latents.length % layout.tokens() != 0) {
      throw new IllegalArgumentException(
          "pack: expected latents of "
              + layout.tokens()
              + " tokens, found "
              + latents.length
              + " values");
    }
    if (features.isPresent()
        && (features.get().length == 0 || features.get().length % layout.tokens() != 0)) {
      throw new IllegalArgumentException(
          "pack: expected features of "
              + layout.tokens()
              + " tokens, found "
              + features.get().length
              + " values");
    }
  }
}
