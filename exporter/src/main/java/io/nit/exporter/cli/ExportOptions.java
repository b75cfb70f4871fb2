package io.nit.exporter.cli;

import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.tensor.DType;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.stream.Collectors;

/**
 * What {@code nit-export} is asked to do.
 *
 * @param checkpoint a safetensors file, an index, or a folder that holds one of them
 * @param preset a published size, instead of {@code config}
 * @param config a config file, instead of {@code preset}
 * @param output the bundle's folder
 * @param storage type that weights are stored in
 * @param positionOrder overrides the config's
 * @param codecFactor factor of the space-to-depth codec, instead of the checkpoint's own codec
 * @param autoencoder the learned codec to put into the bundle, instead of {@code codecFactor}
 * @param labels a file of class names, one a line
 * @param maxTokens tokens that one forward of the bundle may hold
 * @param verify whether to compare with the reference
 * @param overwrite whether to replace a bundle that is there
 * @param quiet whether to show no progress
 */
record ExportOptions(
    Path checkpoint,
    Optional<NitConfig> preset,
    Optional<Path> config,
    Path output,
    DType storage,
    Optional<PositionOrder> positionOrder,
    Optional<Integer> codecFactor,
    Optional<AutoencoderOptions> autoencoder,
    Optional<Path> labels,
    int maxTokens,
    boolean verify,
    boolean overwrite,
    boolean quiet) {

  /** Checks the values against each other. */
  ExportOptions {
    if (preset.isPresent() && config.isPresent()) {
      throw new IllegalArgumentException("--preset and --config: expected one of them, found both");
    }
    if (codecFactor.isPresent() && autoencoder.isPresent()) {
      throw new IllegalArgumentException(
          "--codec and --autoencoder: expected one of them, found both");
    }
    if (maxTokens < 1) {
      throw new IllegalArgumentException("--max-tokens: expected 1 or more, found " + maxTokens);
    }
  }

  /** The storage type that an option names. */
  static DType storage(String flag, String name) {
    return type(flag, name, List.of(DType.F32, DType.F16, DType.BF16));
  }

  /** One of the types that an option may name. */
  static DType type(String flag, String name, List<DType> known) {
    return known.stream()
        .filter(type -> type.name().equals(name.toUpperCase(Locale.ROOT)))
        .findFirst()
        .orElseThrow(
            () ->
                new IllegalArgumentException(
                    flag
                        + ": expected one of "
                        + known.stream()
                            .map(type -> type.name().toLowerCase(Locale.ROOT))
                            .collect(Collectors.joining(", "))
                        + "; found '"
                        + name
                        + "'"));
  }

  /** The factor of {@code --codec} and {@code --codec-factor}. */
  static Optional<Integer> codecFactor(String codec, Integer factor) {
    if (codec == null && factor == null) {
      return Optional.empty();
    }
    List<String> known = List.of(SpaceToDepthCodec.TYPE);
    if (codec == null || !known.contains(codec)) {
      throw new IllegalArgumentException(
          "--codec: expected one of "
              + String.join(", ", known)
              + (codec == null ? " with --codec-factor" : "; found '" + codec + "'"));
    }
    if (factor == null || factor < 1) {
      throw new IllegalArgumentException(
          "--codec-factor: expected 1 or more with --codec, found " + factor);
    }
    return Optional.of(factor);
  }

  /** The order of {@code --position-order}. */
  static Optional<PositionOrder> positionOrder(String name) {
    if (name == null) {
      return Optional.empty();
    }
    try {
      return Optional.of(PositionOrder.parse(name));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--position-order: " + e.getMessage(), e);
    }
  }
}
