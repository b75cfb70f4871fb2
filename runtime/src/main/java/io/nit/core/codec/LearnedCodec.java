package io.nit.core.codec;

import io.nit.core.config.DcAeConfig;
import io.nit.core.image.RgbImage;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * A DC-AE as a codec, whichever library computes its two halves: checks what comes in, applies the
 * scaling factor, and says how much is computed at once. {@link Decoding} says the rest.
 */
public abstract class LearnedCodec implements LatentCodec {
  private final DcAeSpec spec;
  private final float scalingFactor;
  private final PixelBudget budget;
  private final Decoding decoding;
  private volatile boolean closed;

  /**
   * Of an autoencoder.
   *
   * @param tiling how large pictures are decoded
   * @param budget pixels of the pictures that are computed together
   * @param mostSide pixels of a side above which a picture is decoded in tiles in any case
   * @param retries whether {@link #decodeRaw} has a single precision to decode again in
   * @throws IllegalArgumentException if the tiles are no whole latent pixels
   */
  protected LearnedCodec(
      DcAeSpec spec, Tiling tiling, PixelBudget budget, int mostSide, boolean retries) {
    this.spec = spec;
    this.scalingFactor = (float) spec.config().scalingFactor();
    this.budget = budget;
    Decoding.Network again = (latents, h, w) -> decodeRaw(unscaled(latents), h, w, true);
    this.decoding =
        new Decoding(
            spec.factor(),
            tiling,
            budget,
            (latents, h, w) -> decodeRaw(unscaled(latents), h, w, false),
            retries ? Optional.of(again) : Optional.empty(),
            mostSide);
  }

  /**
   * Runs the decoder on latents of one size.
   *
   * @param latents [C, h, w] each, without the scaling factor
   * @param single whether to compute in single precision, which is asked for after a result with
   *     NaN or infinity
   * @return their pictures, [3, h·factor, w·factor] each
   * @throws CodecException if what computes it fails
   */
  protected abstract List<float[]> decodeRaw(List<float[]> latents, int h, int w, boolean single);

  /**
   * Runs the decoder as {@link #decodeRaw} does, not in single precision, and makes bytes of what
   * comes out; for a codec that need not copy it first.
   *
   * @param latents [C, h, w] each, without the scaling factor
   * @return their pictures of [h·factor, w·factor]; empty for those with NaN or infinity
   * @throws CodecException if what computes it fails
   */
  protected List<Optional<RgbImage>> decodeImagesRaw(List<float[]> latents, int h, int w) {
    List<Optional<RgbImage>> pictures = new ArrayList<>();
    for (float[] rgb : decodeRaw(latents, h, w, false)) {
      pictures.add(RgbImage.ofFinitePlanes(FloatBuffer.wrap(rgb), h * factor(), w * factor()));
    }
    return pictures;
  }

  /**
   * Makes decodes ready, as {@link #warmUp} says; by itself it does nothing.
   *
   * @param runs the sizes that {@link #decodeRaw} will be given, of tiles where a picture is
   *     decoded in tiles; empty for what is small
   * @return how many sizes are ready
   * @throws CodecException if it fails
   */
  protected int warmUpRaw(List<LatentSize> runs) {
    return 0;
  }

  /**
   * Runs the encoder on pictures of one size.
   *
   * @param rgb [3, height, width] each
   * @return their latents, [C, height/factor, width/factor] each, without the scaling factor
   * @throws CodecException if what computes it fails
   */
  protected abstract List<float[]> encodeRaw(List<float[]> rgb, int height, int width);

  /**
   * Checks that there is an encoder.
   *
   * @throws UnsupportedOperationException if there is none
   */
  protected abstract void requireEncoder();

  /**
   * Checks that the codec is not closed.
   *
   * @throws IllegalStateException if it is
   */
  protected final void requireOpen() {
    if (closed) {
      throw new IllegalStateException(getClass().getSimpleName() + ": used after close");
    }
  }

  /**
   * What to throw when a network fails.
   *
   * @param network which of the autoencoder's
   * @param count how many pictures or latents it was to compute, of [h, w] each
   */
  protected static CodecException failure(
      String network, int count, int h, int w, Exception cause) {
    return new CodecException(
        "the autoencoder's "
            + network
            + " failed on "
            + count
            + " of "
            + w
            + "x"
            + h
            + ": "
            + cause.getMessage(),
        cause);
  }

  /** Refuses calls from here on; subclasses then free what they hold. */
  @Override
  public void close() {
    closed = true;
  }

  @Override
  public final DcAeSpec spec() {
    return spec;
  }

  @Override
  public final float[] encode(float[] rgb, int height, int width) {
    return encodeBatch(List.of(rgb), height, width).get(0);
  }

  @Override
  public final List<float[]> encodeBatch(List<float[]> rgb, int height, int width) {
    requireOpen();
    requireEncoder();
    int f = factor();
    if (height < f || width < f || height % f != 0 || width % f != 0) {
      throw new IllegalArgumentException(
          "image size: expected multiples of " + f + ", found " + width + "x" + height);
    }
    rgb.forEach(picture -> checkLength(picture, DcAeConfig.IN_CHANNELS, height, width));
    List<float[]> latents = new ArrayList<>();
    for (List<float[]> some : budget.split(rgb, height, width)) {
      latents.addAll(encodeRaw(some, height, width));
    }
    for (float[] latent : latents) {
      for (int i = 0; i < latent.length; i++) {
        latent[i] *= scalingFactor;
      }
    }
    return latents;
  }

  @Override
  public final float[] decode(float[] latent, int latentH, int latentW) {
    return decodeBatch(List.of(latent), latentH, latentW).get(0).rgb();
  }

  @Override
  public final int decodeBatchLimit(int latentH, int latentW) {
    return decoding.limit(latentH, latentW);
  }

  @Override
  public final List<Decoded> decodeBatch(List<float[]> latents, int latentH, int latentW) {
    check(latents, latentH, latentW);
    return decoding.decode(latents, latentH, latentW);
  }

  @Override
  public final List<DecodedImage> decodeImages(List<float[]> latents, int latentH, int latentW) {
    check(latents, latentH, latentW);
    return decoding.images(
        latents, latentH, latentW, (some, h, w) -> decodeImagesRaw(unscaled(some), h, w));
  }

  @Override
  public final int warmUp(List<LatentSize> sizes) {
    requireOpen();
    Set<LatentSize> runs = new LinkedHashSet<>();
    for (LatentSize size : sizes) {
      checkSize(size.h(), size.w());
      runs.addAll(decoding.runs(size.h(), size.w()));
    }
    return warmUpRaw(List.copyOf(runs));
  }

  private void check(List<float[]> latents, int latentH, int latentW) {
    requireOpen();
    checkSize(latentH, latentW);
    latents.forEach(latent -> checkLength(latent, channels(), latentH, latentW));
  }

  private List<float[]> unscaled(List<float[]> latents) {
    List<float[]> raw = new ArrayList<>();
    for (float[] latent : latents) {
      float[] values = new float[latent.length];
      for (int i = 0; i < values.length; i++) {
        values[i] = latent[i] / scalingFactor;
      }
      raw.add(values);
    }
    return raw;
  }

  private void checkSize(int latentH, int latentW) {
    long most = (Integer.MAX_VALUE - 8) / DcAeConfig.IN_CHANNELS; // an array of planes
    long pixels = (long) latentH * factor() * latentW * factor();
    if (latentH < 1 || latentW < 1 || pixels > most) {
      throw new IllegalArgumentException(
          "latent size: expected 1x1 or more and at most "
              + most
              + " pixels, found "
              + latentW
              + "x"
              + latentH
              + " at "
              + factor()
              + " pixels a side");
    }
  }

  private static void checkLength(float[] values, int channels, int h, int w) {
    long expected = (long) channels * h * w;
    if (values.length != expected) {
      throw new IllegalArgumentException(
          "expected "
              + expected
              + " values, ["
              + channels
              + ", "
              + h
              + ", "
              + w
              + "]; found "
              + values.length);
    }
  }
}
