package io.nit.trainer.data;

import io.nit.core.image.RgbImage;

/**
 * A decoded picture.
 *
 * @param image upright, on white, cropped where that was asked for
 * @param oriWidth pixels of the file's picture, upright, before any crop
 * @param oriHeight pixels of the file's picture, upright, before any crop
 */
public record Picture(RgbImage image, int oriWidth, int oriHeight) {}
