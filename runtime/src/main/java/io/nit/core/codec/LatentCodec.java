package io.nit.core.codec;

import io.nit.core.image.RgbImage;
import java.util.ArrayList;
import java.util.List;

/**
 * Turns pictures into latents and back. Pixels are RGB planes in [-1, 1], [3, H, W]; latents are
 * [channels, H/factor, W/factor], scaled so that the model sees values of about unit spread.
 * Implementations are safe for several threads, and safe to close twice.
 */
public interface LatentCodec extends AutoCloseable {
  /** What this codec is. */
  CodecSpec spec();

  /** Pixels a latent pixel spans on each axis. */
  default int factor() {
    return spec().factor();
  }

  /** Latent channels. */
  default int channels() {
    return spec().channels();
  }

  /**
   * Encodes one picture.
   *
   * @param rgb [3, height, width] in [-1, 1]
   * @param height pixels, a multiple of {@link #factor}
   * @param width pixels, a multiple of {@link #factor}
   * @return [channels, height/factor, width/factor]
   * @throws IllegalArgumentException if a side is no multiple of the factor
   * @throws UnsupportedOperationException if the codec only decodes
   * @throws CodecException if what computes it fails
   */
  float[] encode(float[] rgb, int height, int width);

  /**
   * Encodes pictures of one size, together where that is faster.
   *
   * @param rgb each as {@link #encode} takes it
   * @return their latents, in the same order
   * @throws ArithmeticException if a latent holds NaN or infinity; some codecs return it as it is
   */
  default List<float[]> encodeBatch(List<float[]> rgb, int height, int width) {
    List<float[]> latents = new ArrayList<>();
    rgb.forEach(picture -> latents.add(encode(picture, height, width)));
    return latents;
  }

  /**
   * Decodes one latent.
   *
   * @param latent [channels, latentH, latentW]
   * @return [3, latentH·factor, latentW·factor], about [-1, 1], not clamped, all finite
   * @throws NonFiniteDecodeException if the picture holds NaN or infinity even when it is computed
   *     in single precision
   * @throws CodecException if what computes it fails
   */
  float[] decode(float[] latent, int latentH, int latentW);

  /**
   * Decodes latents of one size, together where that is faster.
   *
   * @param latents each as {@link #decode} takes it
   * @return their pictures, in the same order
   * @throws NonFiniteDecodeException as {@link #decode}; none is returned then
   * @throws CodecException if what computes them fails
   */
  default List<Decoded> decodeBatch(List<float[]> latents, int latentH, int latentW) {
    List<Decoded> pictures = new ArrayList<>();
    latents.forEach(latent -> pictures.add(Decoded.of(decode(latent, latentH, latentW))));
    return pictures;
  }

  /**
   * Decodes latents of one size to pictures in 8 bits, with the bytes that {@link #decodeBatch} and
   * {@link RgbImage#ofPlanes} give; without planes of floats in between, where the codec can.
   *
   * @param latents each as {@link #decode} takes it
   * @return their pictures, in the same order
   * @throws NonFiniteDecodeException as {@link #decode}; none is returned then
   * @throws CodecException if what computes them fails
   * @throws IllegalArgumentException if a codec that does not look for it gives NaN
   */
  default List<DecodedImage> decodeImages(List<float[]> latents, int latentH, int latentW) {
    List<DecodedImage> pictures = new ArrayList<>();
    for (Decoded decoded : decodeBatch(latents, latentH, latentW)) {
      pictures.add(DecodedImage.of(decoded, latentH * factor(), latentW * factor()));
    }
    return pictures;
  }

  /**
   * Most latents of a size that are worth a {@link #decodeBatch}; more are decoded all the same. 1
   * where decoding together gains nothing, or where a picture would depend on what is decoded
   * beside it.
   */
  default int decodeBatchLimit(int latentH, int latentW) {
    return 1;
  }

  /**
   * Makes ready at once what is else made beside the first decodes of each size, so that those take
   * no longer than later ones. A codec that has nothing of the kind does nothing.
   *
   * @param sizes latents that will come, each by itself; none for what the codec deems small
   * @return how many sizes, of latents or of tiles, were made ready
   * @throws IllegalArgumentException if a size cannot be decoded
   * @throws CodecException if it fails, as for lack of memory; such sizes cannot be decoded
   */
  default int warmUp(List<LatentSize> sizes) {
    return 0;
  }

  /** Frees what the codec holds; nothing for a plain one. */
  @Override
  default void close() {}
}
