package io.nit.core.config;

import java.util.Arrays;
import java.util.Locale;
import java.util.stream.Collectors;

/**
 * How rotary frequencies are stretched for images larger than those trained on ({@code
 * custom_freqs}).
 */
public enum CustomFreqs {
  /** Frequencies as trained. */
  NORMAL,
  /** Position interpolation: every frequency divided by the scale. */
  LINEAR,
  /** A larger base: high frequencies stay, low ones are interpolated. */
  NTK_AWARE,
  /** {@link #NTK_AWARE} with cos and sin scaled by the ratio of log lengths. */
  NTK_AWARE_PRO1,
  /** {@link #NTK_AWARE} with cos and sin scaled by the ratio of log areas. */
  NTK_AWARE_PRO2,
  /** Linear, NTK and plain frequencies blended by wavelength. */
  NTK_BY_PARTS,
  /** YaRN (arXiv 2309.00071): plain and linear frequencies blended, cos and sin scaled. */
  YARN,
  /** Plain frequencies with cos and sin scaled by the ratio of log lengths. */
  SCALE1,
  /** Plain frequencies with cos and sin scaled by the ratio of log areas. */
  SCALE2;

  /** The authors' spelling, for example {@code ntk-aware-pro1}. */
  public String key() {
    return name().toLowerCase(Locale.ROOT).replace('_', '-');
  }

  /** Whether the mode needs a reference length ({@code ori_max_pe_len}). */
  public boolean needsReferenceLength() {
    return this != NORMAL;
  }

  /**
   * The mode of a spelling.
   *
   * @throws IllegalArgumentException listing the modes, if {@code key} is none of them
   */
  public static CustomFreqs parse(String key) {
    for (CustomFreqs mode : values()) {
      if (mode.key().equals(key.toLowerCase(Locale.ROOT))) {
        return mode;
      }
    }
    throw new IllegalArgumentException(
        "custom_freqs: expected one of "
            + Arrays.stream(values()).map(CustomFreqs::key).collect(Collectors.joining(", "))
            + "; found '"
            + key
            + "'");
  }
}
