package io.nit.trainer.cli;

import io.nit.core.codec.LatentCodec;
import io.nit.core.config.NitConfig;
import io.nit.trainer.data.DataOptions;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** How the training reads and packs its data set (a picocli mixin). */
final class DataFlags {
  private static final int DEFAULT_FACTOR = 4;

  @Option(
      names = {"--max-tokens", "--batch-tokens"},
      paramLabel = "N",
      defaultValue = "16384",
      description = "No pack holds more tokens (default: ${DEFAULT-VALUE}).")
  int maxTokens;

  @Option(
      names = "--max-images",
      paramLabel = "N",
      defaultValue = "0",
      description = "No pack holds more images; 0 for no bound (default: ${DEFAULT-VALUE}).")
  int maxImages;

  @Option(
      names = {"--codec-factor", "--factor"},
      paramLabel = "F",
      description =
          "Picture folders: pixels on a side of a latent pixel of the space-to-depth codec, which "
              + "has 3·F·F channels (default: "
              + DEFAULT_FACTOR
              + "). Prepared latents and --autoencoder bring their own.")
  Integer codecFactor;

  @Option(
      names = "--max-side",
      paramLabel = "PIXELS",
      defaultValue = "2048",
      description =
          "Picture folders: a picture of more than PIXELS² pixels is shrunk to that area (default: "
              + "${DEFAULT-VALUE}).")
  int maxSide;

  @Option(
      names = "--crop-alpha",
      description = "Picture folders: crop pictures to the box where alpha is above 8.")
  boolean cropAlpha;

  @Option(
      names = "--sampler-meta",
      paramLabel = "FILE",
      description = "Prepared latents: take the packs of this file in place of packing anew.")
  Path samplerMeta;

  @Option(
      names = "--memory-budget",
      paramLabel = "MIB",
      defaultValue = "1024",
      description =
          "MiB of encoded pictures to keep; beyond them they are read again for every pack "
              + "(default: ${DEFAULT-VALUE}).")
  long memoryBudgetMib;

  @Option(
      names = "--workers",
      paramLabel = "N",
      defaultValue = "0",
      description = "Threads that decode pictures; 0 for one a core (default: ${DEFAULT-VALUE}).")
  int workers;

  /** Factor of the space-to-depth codec. */
  int codecFactor() {
    return codecFactor == null ? DEFAULT_FACTOR : codecFactor;
  }

  /** The options with a learned codec where one is given. */
  DataOptions options(
      NitConfig config, boolean features, boolean quiet, Optional<LatentCodec> learned) {
    DataOptions options = options(config, features, quiet);
    if (learned.isEmpty()) {
      return options;
    }
    if (codecFactor != null) {
      throw new IllegalArgumentException(
          "--codec-factor: expected none with --autoencoder, whose factor is "
              + learned.get().factor()
              + ", found "
              + codecFactor);
    }
    return options.withCodec(learned.get());
  }

  DataOptions options(NitConfig config, boolean features, boolean quiet) {
    if (workers < 0) {
      throw new IllegalArgumentException("--workers: expected 0 or more, found " + workers);
    }
    if (memoryBudgetMib < 0 || memoryBudgetMib > Long.MAX_VALUE >> 20) {
      throw new IllegalArgumentException(
          "--memory-budget: expected 0 or more MiB, found " + memoryBudgetMib);
    }
    DataOptions defaults = DataOptions.defaults();
    DataOptions options =
        defaults
            .withPatchSize(config.patchSize())
            .withCodecFactor(codecFactor())
            .withPacks(maxTokens, maxImages)
            .withPictures(maxSide, defaults.maxPixels(), cropAlpha)
            .withMemoryBudget(memoryBudgetMib << 20)
            .withQuiet(quiet);
    if (workers > 0) {
      options = options.withWorkers(workers);
    }
    if (samplerMeta != null) {
      options = options.withSamplerMeta(samplerMeta);
    }
    return features ? options.withFeatures(config.zDim()) : options;
  }
}
