package io.nit.exporter.cli;

import io.nit.core.tensor.DType;
import java.nio.file.Path;
import java.util.List;

/**
 * How an autoencoder is exported.
 *
 * @param folder diffusers' folder of it
 * @param storage type that weights are stored in
 * @param compute type that the decoder computes in, F32 or F16; the encoder computes in F32
 * @param encodes whether the encoder is written too
 */
record AutoencoderOptions(Path folder, DType storage, DType compute, boolean encodes) {

  /** The type of {@code --autoencoder-compute}. */
  static DType compute(String name) {
    return ExportOptions.type("--autoencoder-compute", name, List.of(DType.F32, DType.F16));
  }
}
