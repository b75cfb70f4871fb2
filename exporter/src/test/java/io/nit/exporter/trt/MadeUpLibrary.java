package io.nit.exporter.trt;

import io.nit.core.cuda.PluginLibrary;
import java.nio.file.Path;
import java.util.List;

/** Libraries of plugins that are nowhere, by the GPUs that they have kernels for. */
final class MadeUpLibrary {
  private MadeUpLibrary() {}

  static PluginLibrary of(String... architectures) {
    return new PluginLibrary(
        Path.of("lib.so"),
        PluginLibrary.Source.PROPERTY,
        "0.1.0",
        "13.0",
        List.of(architectures),
        "hash");
  }
}
