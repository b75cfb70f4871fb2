package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;
import picocli.CommandLine.Option;

/** Which model and what runs it (a picocli mixin). */
final class ModelOptions {
  @Option(
      names = "--bundle",
      paramLabel = "DIR",
      description = "The model: a folder made by nit-export. Required.")
  private Path bundle;

  @Option(
      names = "--backend",
      paramLabel = "NAME",
      defaultValue = Engines.AUTO,
      description =
          "What runs the model: auto or a name that 'nit-run info' lists; a named one is never"
              + " replaced by another (default: ${DEFAULT-VALUE}).")
  private String backend;

  @Option(
      names = "--threads",
      paramLabel = "N",
      defaultValue = "0",
      description = "CPU threads of a forward; 0 for every core (default: ${DEFAULT-VALUE}).")
  private int threads;

  @Option(
      names = "--device",
      paramLabel = "N",
      defaultValue = "0",
      description = "The GPU of backends that run on one (default: ${DEFAULT-VALUE}).")
  private int device;

  ModelOptions() {}

  Path folder() {
    return Flags.required("--bundle", bundle);
  }

  String backend() {
    return backend;
  }

  int threads() {
    return options(DecodeOptions.STANDARD).threads();
  }

  int device() {
    return options(DecodeOptions.STANDARD).device();
  }

  private EngineOptions options(DecodeOptions decode) {
    return Flags.engine(threads, device, decode);
  }

  /**
   * Opens a bundle's codec, a learned one on the backend.
   *
   * @return the codec, which the caller closes; empty if the bundle has none
   */
  Optional<LatentCodec> openCodec(Bundle model, DecodeOptions decode)
      throws IOException, EngineException {
    return Engines.openCodec(model, backend, options(decode));
  }

  VelocityEngine open(Bundle model) throws IOException, EngineException {
    return Engines.open(model, backend, options(DecodeOptions.STANDARD));
  }
}
