package io.nit.core.codec;

/** A latent whose picture holds NaN or infinity even when it is decoded in single precision. */
public final class NonFiniteDecodeException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /**
   * Of a latent.
   *
   * @param latent its values
   * @param latentH its height
   * @param latentW its width
   */
  public NonFiniteDecodeException(float[] latent, int latentH, int latentW) {
    super(
        "the decoded picture holds NaN or infinity in single precision too; the latent ["
            + latent.length / (latentH * latentW)
            + ", "
            + latentH
            + ", "
            + latentW
            + "] has values up to "
            + largest(latent));
  }

  private static float largest(float[] values) {
    float largest = 0;
    for (float value : values) {
      if (Float.isNaN(value)) {
        return Float.NaN;
      }
      largest = Math.max(largest, Math.abs(value));
    }
    return largest;
  }
}
