package io.nit.runtime.cli;

import io.nit.core.flow.Guidance;
import io.nit.runtime.engine.EngineOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.function.Supplier;

/** What option values have in common. */
final class Flags {
  private Flags() {}

  /** The value of a flag that must be there. */
  static <T> T required(String flag, T value) {
    if (value == null) {
      throw new IllegalArgumentException("missing " + flag + "; see --help");
    }
    return value;
  }

  /**
   * The file that a command writes, checked before any work is done.
   *
   * @param inputsFlag the flag of {@code inputs}
   * @param inputs what the command reads and must not write over
   */
  static Path outputFile(Path output, String inputsFlag, Path inputs) throws IOException {
    Path file = required("--output", output);
    if (Files.isDirectory(file)) {
      throw new IllegalArgumentException("--output: expected a file, found the folder " + file);
    }
    if (Files.exists(file) && Files.exists(inputs) && Files.isSameFile(file, inputs)) {
      throw new IllegalArgumentException(
          "--output: expected another file than " + inputsFlag + ", found " + file + " for both");
    }
    return file;
  }

  /** A value as {@code parse} understands it; what it says of a bad one follows the flag. */
  static <T> T parsed(String flag, Supplier<T> parse) {
    try {
      return parse.get();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          flag + ": " + e.getMessage().replaceFirst("^[a-z_ ]+: (?=expected)", ""), e);
    }
  }

  /** Options of a backend by {@code --threads} and {@code --device}. */
  static EngineOptions engine(int threads, int device, EngineOptions.DecodeOptions decode) {
    try {
      return new EngineOptions(threads, device, decode);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--" + e.getMessage(), e);
    }
  }

  /** {@code LOW,HIGH} as the interval of a guidance scale. */
  static Guidance interval(String flag, String value, double scale) {
    String[] ends = value.split(",", -1);
    try {
      if (ends.length == 2) {
        double low = Double.parseDouble(ends[0]);
        double high = Double.parseDouble(ends[1]);
        return parsed(flag, () -> new Guidance(scale, low, high));
      }
    } catch (NumberFormatException e) {
      // Told below, as for any other number of values.
    }
    throw new IllegalArgumentException(
        flag + ": expected LOW,HIGH such as 0,0.7; found '" + value + "'");
  }
}
