package io.nit.core.rope;

/**
 * Rotary tables of a pack: {@code q' = q·cos + rot(q)·sin}, where {@code rot} maps an adjacent pair
 * (a, b) to (-b, a).
 *
 * @param cos [tokens, headDim], row-major, magnitude factor included
 * @param sin [tokens, headDim], likewise
 * @param tokens rows
 * @param headDim columns
 */
public record RopeTables(float[] cos, float[] sin, int tokens, int headDim) {
  /** Checks the sizes. */
  public RopeTables {
    if (cos.length != tokens * headDim || sin.length != cos.length) {
      throw new IllegalArgumentException(
          "rope tables: expected ["
              + tokens
              + ", "
              + headDim
              + "], found "
              + cos.length
              + " and "
              + sin.length
              + " values");
    }
  }
}
