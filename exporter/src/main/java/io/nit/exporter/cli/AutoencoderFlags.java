package io.nit.exporter.cli;

import io.nit.core.tensor.DType;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** The options that say which autoencoder to export and how (a picocli mixin). */
final class AutoencoderFlags {
  @Option(
      names = "--autoencoder",
      paramLabel = "DIR",
      description =
          "A DC-AE in diffusers' folder layout (config.json and"
              + " diffusion_pytorch_model.safetensors), or the folder of a pipeline with one in"
              + " vae.")
  private Path folder;

  @Option(
      names = "--autoencoder-dtype",
      paramLabel = "TYPE",
      description =
          "Type that the autoencoder's weights are stored in: f32, f16, bf16; default: the type of"
              + " the model's, or f32.")
  private String dtype;

  @Option(
      names = "--autoencoder-compute",
      paramLabel = "TYPE",
      defaultValue = "f32",
      description =
          "Type that the decoder computes in: f32 or f16; default: ${DEFAULT-VALUE}. Not f16 unless"
              + " asked for: half precision ends at 65504, which a trained decoder's activations can"
              + " pass, and rounds what they hold. Norms and attention stay in single precision, and"
              + " a second decoder in single precision is written for pictures that overflow.")
  private String compute;

  @Option(
      names = "--encoder",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description =
          "Write the encoder too, which nit-run encode and an encoder's engine need and pictures"
              + " do not. Default: ${DEFAULT-VALUE}.")
  private boolean encodes;

  /**
   * The options; empty without {@code --autoencoder}.
   *
   * @param storage type of the weights where {@code --autoencoder-dtype} names none
   * @throws IllegalArgumentException if a type is unknown, or one is given without an autoencoder
   */
  Optional<AutoencoderOptions> options(DType storage) {
    DType stored = dtype == null ? storage : ExportOptions.storage("--autoencoder-dtype", dtype);
    DType computed = AutoencoderOptions.compute(compute);
    if (folder == null) {
      String alone =
          dtype != null
              ? "--autoencoder-dtype"
              : computed != DType.F32 ? "--autoencoder-compute" : encodes ? null : "--no-encoder";
      if (alone != null) {
        throw new IllegalArgumentException(alone + ": expected --autoencoder with it, found none");
      }
      return Optional.empty();
    }
    return Optional.of(new AutoencoderOptions(folder, stored, computed, encodes));
  }
}
