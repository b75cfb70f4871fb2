package io.nit.trainer.cli;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.LatentCodec;
import io.nit.trainer.autoencoder.DcAeCodec;
import io.nit.trainer.autoencoder.Precision;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import picocli.CommandLine.Option;

/** The learned autoencoder of the latents, and how it computes (a picocli mixin). */
final class AutoencoderFlags {
  @Option(
      names = "--autoencoder",
      paramLabel = "DIR",
      description =
          "The DC-AE of the latents, a folder in diffusers' layout: config.json and "
              + DcAeFolder.WEIGHTS
              + ", or one with these in its vae folder.")
  Path folder;

  @Option(
      names = "--autoencoder-precision",
      paramLabel = "auto|f32|bf16|f16",
      defaultValue = "auto",
      description =
          "What the autoencoder computes in; auto: bf16 on CUDA, f32 elsewhere "
              + "(default: ${DEFAULT-VALUE}).")
  String precision;

  /** What the flag's spelling means on a device. */
  Precision precision(Device device) {
    try {
      return Precision.parse(precision, device);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--autoencoder-precision: " + e.getMessage(), e);
    }
  }

  /** The autoencoder at work, which the caller closes; empty where none was named. */
  Optional<LatentCodec> open(Device device) throws IOException {
    precision(device); // its spelling is checked in any case
    return folder == null
        ? Optional.empty()
        : Optional.of(open(folder, device, DcAeCodec.Limits.STANDARD));
  }

  /** The autoencoder of a folder, which the caller closes. */
  LatentCodec open(Path where, Device device, DcAeCodec.Limits limits) throws IOException {
    return DcAeCodec.open(DcAeFolder.open(where), device, precision(device), limits);
  }
}
