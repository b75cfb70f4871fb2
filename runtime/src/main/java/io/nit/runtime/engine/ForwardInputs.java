package io.nit.runtime.engine;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.RopeTables;
import java.nio.FloatBuffer;

/**
 * Inputs of one packed forward.
 *
 * @param layout B images, N tokens
 * @param x [N, C, p, p], from position to limit; a direct buffer is passed on without a copy
 * @param t [B], times in [0, 1]
 * @param y [B], labels; {@code numClasses} is the null class
 * @param rope tables of the same tokens
 */
public record ForwardInputs(
    PackLayout layout, FloatBuffer x, float[] t, long[] y, RopeTables rope) {
  /** Checks that all sizes fit the layout. */
  public ForwardInputs {
    if (t.length != layout.images() || y.length != layout.images()) {
      throw new IllegalArgumentException(
          "expected t and y of "
              + layout.images()
              + " images, found "
              + t.length
              + " and "
              + y.length);
    }
    if (rope.tokens() != layout.tokens() || x.remaining() % layout.tokens() != 0) {
      throw new IllegalArgumentException(
          "expected rope tables and x of "
              + layout.tokens()
              + " tokens, found "
              + rope.tokens()
              + " and "
              + x.remaining()
              + " values");
    }
  }

  /**
   * Checks that x is of a model's tokens and that its velocities find room.
   *
   * @return how many values x has, and the velocities will have
   * @throws IllegalArgumentException if either does not fit
   */
  public int requireValues(NitConfig config, FloatBuffer v) {
    int values = Math.multiplyExact(layout.tokens(), config.tokenSize());
    if (x.remaining() != values || v.remaining() < values) {
      throw new IllegalArgumentException(
          "x and v: expected "
              + values
              + " values for "
              + layout
              + ", found "
              + x.remaining()
              + " and room for "
              + v.remaining());
    }
    return values;
  }

  /**
   * Checks that the tables are of a model's heads.
   *
   * @throws IllegalArgumentException if they are not
   */
  public void requireHeadDim(NitConfig config) {
    requireHeadDim(rope, config);
  }

  static void requireHeadDim(RopeTables rope, NitConfig config) {
    if (rope.headDim() != config.headDim()) {
      throw new IllegalArgumentException(
          "rope tables: expected headDim " + config.headDim() + ", found " + rope.headDim());
    }
  }
}
