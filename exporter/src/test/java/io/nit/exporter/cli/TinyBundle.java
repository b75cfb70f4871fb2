package io.nit.exporter.cli;

import io.nit.core.config.NitConfig;
import io.nit.exporter.testing.SyntheticModel;
import io.nit.testing.PlainBundle;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;

/** The smallest model that the exporter's tests make, and a bundle of it. */
public final class TinyBundle {
  /** One block, patches of 1. */
  public static final NitConfig CONFIG =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size", 16,
                  "depth", 1,
                  "num_heads", 2,
                  "in_channels", 12,
                  "num_classes", 3,
                  "encoder_depth", 1));

  private TinyBundle() {}

  /** Writes the bundle: {@code bundle.json} and {@code model.onnx}. */
  static void write(Path folder) throws IOException {
    PlainBundle.write(SyntheticModel.write(CONFIG, folder), CONFIG, 3000);
  }

  /** The names in a folder, sorted. */
  static List<String> names(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(file -> file.getFileName().toString()).sorted().toList();
    }
  }
}
