package io.nit.core.bundle;

import java.util.List;
import java.util.Locale;

/** The plans of an engine's file that run packs; a profile stands in one of them. */
public enum PackPlan {
  /** TensorRT's own products. */
  MAIN,
  /** Our products, which are the faster ones for packs of few tokens. */
  SMALL;

  /**
   * The most tokens of a pack for which our products are the faster ones; from about 1024 on they
   * and cuBLAS' are alike ({@code plugins-trt/bench/README.md}).
   */
  public static final int SMALL_TOKENS = 512;

  /** The word in manifests. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /** The plan of a word in a manifest. */
  static PackPlan parse(String word, String field) {
    for (PackPlan plan : values()) {
      if (plan.key().equals(word)) {
        return plan;
      }
    }
    throw new IllegalArgumentException(
        field
            + ": expected one of "
            + String.join(", ", List.of(MAIN.key(), SMALL.key()))
            + ", found "
            + word);
  }
}
