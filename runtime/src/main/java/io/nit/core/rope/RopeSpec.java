package io.nit.core.rope;

import io.nit.core.config.CustomFreqs;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;

/**
 * All that decides an image's rotary tables, apart from its size.
 *
 * @param headDim width of an attention head, a multiple of 4
 * @param customFreqs stretching of the frequencies
 * @param theta base of the frequencies
 * @param maxPeLenH length that the first axis is stretched for, or 0 for the image's own height in
 *     tokens
 * @param maxPeLenW length that the second axis is stretched for, or 0 for the image's own width in
 *     tokens
 * @param decouple each axis by its own length, not both by the longer
 * @param oriMaxPeLen reference length L₀ in tokens; 0 only where {@code customFreqs} needs none
 * @param positionOrder which axis position a token gets
 */
public record RopeSpec(
    int headDim,
    CustomFreqs customFreqs,
    double theta,
    int maxPeLenH,
    int maxPeLenW,
    boolean decouple,
    int oriMaxPeLen,
    PositionOrder positionOrder) {

  /** Checks that the mode has the reference length it needs. */
  public RopeSpec {
    if (headDim < 4 || headDim % 4 != 0) {
      throw new IllegalArgumentException("headDim: expected a multiple of 4, found " + headDim);
    }
    if (customFreqs.needsReferenceLength() && oriMaxPeLen < 2) {
      throw new IllegalArgumentException(
          "RoPE mode '"
              + customFreqs.key()
              + "': expected a reference length (ori_max_pe_len) of 2 tokens or more, found "
              + oriMaxPeLen);
    }
  }

  /** What a model's config says. */
  public static RopeSpec of(NitConfig config) {
    return new RopeSpec(
        config.headDim(),
        config.customFreqs(),
        config.theta(),
        config.maxPeLenH(),
        config.maxPeLenW(),
        config.decouple(),
        config.oriMaxPeLen(),
        config.positionOrder());
  }

  /**
   * This spec in another mode, stretched for each image's own size.
   *
   * @param referenceLength L₀ in tokens, or 0 to keep this spec's
   */
  public RopeSpec withMode(CustomFreqs mode, int referenceLength) {
    return new RopeSpec(
        headDim,
        mode,
        theta,
        0,
        0,
        decouple,
        referenceLength > 0 ? referenceLength : oriMaxPeLen,
        positionOrder);
  }
}
