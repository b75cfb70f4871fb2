package io.nit.trainer.data;

import io.nit.core.codec.CodecSpec;
import io.nit.core.flow.Philox;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * A data set cut in packs. {@link #load} is safe for several threads; the same pack and the same
 * choices give the same numbers.
 */
public interface TrainingData extends AutoCloseable {
  /** Number of packs, at least 1. */
  int packs();

  /** Number of images in all packs together. */
  int images();

  /** Latent channels C, the model's {@code in_channels}. */
  int channels();

  /** Width of the REPA features, or 0 where the data set has none. */
  int featureDim();

  /**
   * Reads a pack.
   *
   * @param pack in {@code 0..packs()-1}
   * @param choice decides the mirroring: image i of the pack is mirrored left to right when {@code
   *     choice.uniform(i) < 0.5}
   * @throws IOException if a file cannot be read or does not hold what the data set says; names it
   */
  TrainingPack load(int pack, Philox choice) throws IOException;

  /** What made the latents, where it is known. */
  Optional<CodecSpec> codec();

  /** Folder of the autoencoder that made the latents, where the data set names one. */
  default Optional<Path> autoencoder() {
    return Optional.empty();
  }

  /** Class names by label; empty where the data set names none. */
  List<String> labels();

  /** Number of classes, as many as {@link #labels}; 0 where the data set does not know them. */
  int classes();

  /** Pictures that were left out, and why. */
  default List<Skipped> skipped() {
    return List.of();
  }

  /** Frees what was kept. Safe to call twice. */
  @Override
  void close();
}
