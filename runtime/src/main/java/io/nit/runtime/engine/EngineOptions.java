package io.nit.runtime.engine;

import io.nit.core.codec.Tiling;

/**
 * How a backend is to run.
 *
 * @param threads CPU threads of a forward; 0 for the backend's own choice, which is every core
 * @param device number of the GPU, for backends that run on one
 * @param decode how a learned autoencoder decodes
 */
public record EngineOptions(int threads, int device, DecodeOptions decode) {
  /** The backend's own choices. */
  public static final EngineOptions DEFAULT = new EngineOptions(0);

  /** Checks the values. */
  public EngineOptions {
    if (threads < 0 || threads > 1024) {
      throw new IllegalArgumentException("threads: expected 0..1024, found " + threads);
    }
    if (device < 0) {
      throw new IllegalArgumentException("device: expected 0 or more, found " + device);
    }
  }

  /** With so many threads, on the first GPU, and the standard way to decode. */
  public EngineOptions(int threads) {
    this(threads, DecodeOptions.STANDARD);
  }

  /** With so many threads, on the first GPU. */
  public EngineOptions(int threads, DecodeOptions decode) {
    this(threads, 0, decode);
  }

  /**
   * How a learned autoencoder decodes.
   *
   * @param tiling how pictures are decoded in tiles, and above which size
   * @param batchPixels pictures of one size are decoded together up to so many pixels in all; 0 for
   *     each alone
   */
  public record DecodeOptions(Tiling tiling, long batchPixels) {
    /**
     * Standard tiles, and each picture alone: together, ONNX Runtime gives the pictures of a DC-AE
     * other last bits (up to 1.2e-6), and a picture is to depend on its own request only.
     */
    public static final DecodeOptions STANDARD = new DecodeOptions(Tiling.STANDARD, 0);

    /** Checks the values. */
    public DecodeOptions {
      if (batchPixels < 0) {
        throw new IllegalArgumentException(
            "pixels decoded together: expected 0 or more, found " + batchPixels);
      }
    }
  }
}
