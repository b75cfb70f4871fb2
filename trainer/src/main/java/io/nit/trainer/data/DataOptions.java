package io.nit.trainer.data;

import io.nit.core.codec.LatentCodec;
import java.nio.file.Path;
import java.util.Optional;
import java.util.OptionalInt;
import java.util.function.Consumer;

/**
 * How a data set is read and packed. Made by {@link #defaults} and the {@code with…} methods.
 *
 * @param patchSize the model's patch size p
 * @param codecFactor factor of the space-to-depth codec that encodes pictures; prepared latents
 *     bring their own
 * @param maxTokens no pack holds more tokens
 * @param maxImages no pack holds more images; 0 for no such bound
 * @param maxSide cap M: a picture of M² pixels or more is shrunk to that area
 * @param maxPixels pictures of more pixels are refused unread
 * @param cropAlpha whether pictures are cropped to the box where alpha is above 8
 * @param memoryBudget bytes of encoded latents to keep; beyond them pictures are read again for
 *     every pack
 * @param workers threads that decode pictures when the data set is opened
 * @param samplerMeta packs to take in place of packing anew; prepared latents only
 * @param zDim width that REPA features must have; empty to leave features unread
 * @param codec a learned codec, of {@code codecFactor}: it encodes pictures, and stands for what
 *     made prepared latents that do not say it; empty for space-to-depth
 * @param quiet whether to show no progress
 */
public record DataOptions(
    int patchSize,
    int codecFactor,
    int maxTokens,
    int maxImages,
    int maxSide,
    long maxPixels,
    boolean cropAlpha,
    long memoryBudget,
    int workers,
    Optional<Path> samplerMeta,
    OptionalInt zDim,
    Optional<LatentCodec> codec,
    boolean quiet) {

  /** Pixels of the largest picture that is decoded, 0.7 GB as RGBA: as PIL's own limit. */
  public static final long MAX_PIXELS = 178_956_970;

  /** Checks every value. */
  public DataOptions {
    require("patch size", patchSize, 1, 64);
    require("codec factor", codecFactor, 1, 64);
    require("--max-tokens", maxTokens, 1, 1 << 24);
    require("--max-images", maxImages, 0, 1 << 24);
    require("--max-side", maxSide, patchSize * codecFactor, 1 << 15);
    require("--max-pixels", maxPixels, 1, Integer.MAX_VALUE);
    require("--memory-budget", memoryBudget, 0, Long.MAX_VALUE);
    require("--workers", workers, 1, 1024);
    if (zDim.isPresent()) {
      require("z_dim", zDim.getAsInt(), 1, 1 << 16);
    }
  }

  /** Patch size 1, factor 4, packs of 16,384 tokens, M = 2048, 1 GiB kept, a worker a core. */
  public static DataOptions defaults() {
    return new DataOptions(
        1,
        4,
        16_384,
        0,
        2048,
        MAX_PIXELS,
        false,
        1L << 30,
        Runtime.getRuntime().availableProcessors(),
        Optional.empty(),
        OptionalInt.empty(),
        Optional.empty(),
        false);
  }

  /** Pixels that the sides of a resized picture are multiples of: codec factor × patch size. */
  public int multiple() {
    return codecFactor * patchSize;
  }

  /** With a learned codec, which stays the caller's. */
  public DataOptions withCodec(LatentCodec value) {
    return change(
        d -> {
          d.codec = Optional.of(value);
          d.codecFactor = value.factor();
        });
  }

  /** With another patch size. */
  public DataOptions withPatchSize(int value) {
    return change(d -> d.patchSize = value);
  }

  /** With another codec factor. */
  public DataOptions withCodecFactor(int value) {
    return change(d -> d.codecFactor = value);
  }

  /** With other bounds of a pack; {@code maxImages} 0 for none. */
  public DataOptions withPacks(int maxTokens, int maxImages) {
    return change(
        d -> {
          d.maxTokens = maxTokens;
          d.maxImages = maxImages;
        });
  }

  /** With other bounds of a picture. */
  public DataOptions withPictures(int maxSide, long maxPixels, boolean cropAlpha) {
    return change(
        d -> {
          d.maxSide = maxSide;
          d.maxPixels = maxPixels;
          d.cropAlpha = cropAlpha;
        });
  }

  /** With another memory budget in bytes. */
  public DataOptions withMemoryBudget(long bytes) {
    return change(d -> d.memoryBudget = bytes);
  }

  /** With another number of decoding threads. */
  public DataOptions withWorkers(int value) {
    return change(d -> d.workers = value);
  }

  /** With packs from a sampler meta file. */
  public DataOptions withSamplerMeta(Path file) {
    return change(d -> d.samplerMeta = Optional.of(file));
  }

  /** With REPA features of a width. */
  public DataOptions withFeatures(int zDim) {
    return change(d -> d.zDim = OptionalInt.of(zDim));
  }

  /** Without progress. */
  public DataOptions withQuiet(boolean value) {
    return change(d -> d.quiet = value);
  }

  private DataOptions change(Consumer<Draft> change) {
    Draft draft = new Draft(this);
    change.accept(draft);
    return draft.options();
  }

  /** The same values, to be changed. */
  private static final class Draft {
    int patchSize;
    int codecFactor;
    int maxTokens;
    int maxImages;
    int maxSide;
    long maxPixels;
    boolean cropAlpha;
    long memoryBudget;
    int workers;
    Optional<Path> samplerMeta;
    OptionalInt zDim;
    Optional<LatentCodec> codec;
    boolean quiet;

    Draft(DataOptions options) {
      patchSize = options.patchSize;
      codecFactor = options.codecFactor;
      maxTokens = options.maxTokens;
      maxImages = options.maxImages;
      maxSide = options.maxSide;
      maxPixels = options.maxPixels;
      cropAlpha = options.cropAlpha;
      memoryBudget = options.memoryBudget;
      workers = options.workers;
      samplerMeta = options.samplerMeta;
      zDim = options.zDim;
      codec = options.codec;
      quiet = options.quiet;
    }

    DataOptions options() {
      return new DataOptions(
          patchSize,
          codecFactor,
          maxTokens,
          maxImages,
          maxSide,
          maxPixels,
          cropAlpha,
          memoryBudget,
          workers,
          samplerMeta,
          zDim,
          codec,
          quiet);
    }
  }

  private static void require(String flag, long value, long min, long max) {
    if (value < min || value > max) {
      throw new IllegalArgumentException(
          flag + ": expected " + min + ".." + max + ", found " + value);
    }
  }
}
