package io.nit.core.config;

import java.util.Locale;

/**
 * Which axis position a token gets in the 2-D rotary embedding; see {@link
 * io.nit.core.rope.Rope2d}.
 */
public enum PositionOrder {
  /**
   * Token {@code k} of an h×w image gets first-axis position {@code k mod h} and second-axis
   * position {@code k div h}: what the released code does, and what its weights were trained with.
   */
  RELEASED,
  /**
   * Token {@code k} gets its row {@code k div w} on the first axis and its column {@code k mod w}
   * on the second.
   */
  AXIAL;

  /** The spelling in configs and on command lines. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * The order of a spelling.
   *
   * @throws IllegalArgumentException if {@code key} is neither {@code released} nor {@code axial}
   */
  public static PositionOrder parse(String key) {
    for (PositionOrder order : values()) {
      if (order.key().equals(key)) {
        return order;
      }
    }
    throw new IllegalArgumentException(
        "position_order: expected one of released, axial; found '" + key + "'");
  }
}
