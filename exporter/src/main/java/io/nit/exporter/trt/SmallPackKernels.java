package io.nit.exporter.trt;

import io.nit.core.bundle.EngineManifest.Hardware;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/** Whether packs of few tokens get a plan of their own, whose linear layers are our kernels. */
public enum SmallPackKernels {
  /** Where they can. */
  AUTO,
  /** Or no engine is built. */
  ON,
  /** All packs run in one plan. */
  OFF;

  /** The flag that names one of these. */
  public static final String FLAG = "--small-pack-kernels";

  /** The GPUs that our linear layers run on. */
  private static final String COMPUTE_CAPABILITY = "9.0";

  private static final String ARCHITECTURE = "sm_90a";

  /** What the columns of our linear layers are multiples of: 16 bytes are read at once. */
  private static final int COLUMNS = 8;

  /**
   * The value of a word on the command line.
   *
   * @throws IllegalArgumentException naming the flag
   */
  public static SmallPackKernels parse(String word) {
    for (SmallPackKernels one : values()) {
      if (one.key().equals(word)) {
        return one;
      }
    }
    throw new IllegalArgumentException(FLAG + ": expected auto, on or off, found '" + word + "'");
  }

  /** The word on the command line. */
  public String key() {
    return name().toLowerCase(Locale.ROOT);
  }

  /**
   * Why an engine cannot have the plan on any GPU; empty if it can.
   *
   * @param buckets the most tokens of each profile
   */
  public static Optional<String> refusal(
      NitConfig config, DType precision, Traits traits, List<Integer> buckets) {
    if (precision == DType.F32) {
      return Optional.of("expected bf16 or f16, found f32");
    }
    if (traits.hardware() != Hardware.SAME) {
      return Optional.of(
          "expected an engine for compute capability "
              + COMPUTE_CAPABILITY
              + " alone, found --hardware-compatible");
    }
    if (traits.versionCompatible()) {
      return Optional.of("expected an engine for one version, found --version-compatible");
    }
    if (buckets.get(0) > PackPlan.SMALL_TOKENS) {
      return Optional.of(
          "expected a bucket of at most " + PackPlan.SMALL_TOKENS + " tokens, found " + buckets);
    }
    for (int columns : List.of(config.hiddenSize(), config.mlpHidden())) {
      if (columns % COLUMNS != 0) {
        return Optional.of(
            "expected layers of a multiple of " + COLUMNS + " columns, found " + columns);
      }
    }
    return Optional.empty();
  }

  /**
   * Why an engine for a GPU cannot have the plan; empty if it can.
   *
   * @param plugins the library that has the kernels
   */
  public static Optional<String> refusalOn(String computeCapability, PluginLibrary plugins) {
    if (!computeCapability.equals(COMPUTE_CAPABILITY)) {
      return Optional.of(
          "expected a GPU of compute capability "
              + COMPUTE_CAPABILITY
              + ", found "
              + computeCapability);
    }
    return plugins.architectures().contains(ARCHITECTURE)
        ? Optional.empty()
        : Optional.of(
            "expected our kernels for "
                + ARCHITECTURE
                + ", found "
                + String.join(", ", plugins.architectures())
                + " in "
                + plugins.file());
  }
}
