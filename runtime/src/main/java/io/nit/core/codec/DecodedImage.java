package io.nit.core.codec;

import io.nit.core.image.RgbImage;

/**
 * A decoded picture in 8 bits.
 *
 * @param image the picture
 * @param retried as in {@link Decoded}
 * @param tiles as in {@link Decoded}
 */
public record DecodedImage(RgbImage image, boolean retried, int tiles) {
  /** The bytes of planes of a size. */
  static DecodedImage of(Decoded decoded, int height, int width) {
    return new DecodedImage(
        RgbImage.ofPlanes(decoded.rgb(), height, width), decoded.retried(), decoded.tiles());
  }
}
