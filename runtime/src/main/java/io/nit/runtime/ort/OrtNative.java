package io.nit.runtime.ort;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import java.io.File;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads ONNX Runtime's native library, one for the process. Its telemetry, which since release 1.29
 * is part of the Linux builds and sends usage data to its makers, is switched off.
 */
final class OrtNative {
  /** Environment variable that keeps telemetry from starting at all. */
  static final String DISABLE_TELEMETRY = "ORT_DISABLE_TELEMETRY";

  /** ONNX Runtime's own property: the folder that its libraries are loaded from. */
  static final String LIBRARY_FOLDER = "onnxruntime.native.path";

  private static final Logger LOG = LoggerFactory.getLogger(OrtNative.class);

  /** The libraries of a CUDA build; without the last one it is a CPU build. */
  private static final List<String> CUDA_BUILD =
      List.of(
          "onnxruntime",
          "onnxruntime4j_jni",
          "onnxruntime_providers_shared",
          "onnxruntime_providers_cuda");

  /** Release 1.29 crashes from 3981 bytes on; some room is left. */
  private static final int LONGEST_COMMAND_LINE = 3800;

  private OrtNative() {}

  /** Why the library must not or cannot be loaded, or empty if it is loaded. */
  static Optional<String> refusal() {
    Optional<String> crash = crash(System.getenv(DISABLE_TELEMETRY), commandLineBytes());
    if (crash.isPresent()) {
      return crash;
    }
    try {
      environment();
      return Optional.empty();
    } catch (LinkageError | RuntimeException e) {
      return Optional.of("ONNX Runtime's native library does not load: " + e);
    }
  }

  /** The process' environment; loads the library on the first call. */
  static OrtEnvironment environment() {
    takeCudaBuild();
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try {
      environment.setTelemetry(false);
    } catch (OrtException e) {
      LOG.warn("ONNX Runtime's telemetry cannot be switched off: {}", e.getMessage());
    }
    return environment;
  }

  /**
   * Has ONNX Runtime load a CUDA build that lies on the library path. By itself it looks into its
   * jar first, which may be the one for CPUs, and unpacks 600 MB of libraries into a temporary
   * folder in every process where it is the one for GPUs.
   */
  private static synchronized void takeCudaBuild() {
    if (System.getProperty(LIBRARY_FOLDER) == null) {
      cudaBuild(System.getProperty("java.library.path", ""))
          .ifPresent(
              folder -> {
                LOG.info("ONNX Runtime with CUDA from {}", folder);
                System.setProperty(LIBRARY_FOLDER, folder.toString());
              });
    }
  }

  /** The first folder of a library path that holds ONNX Runtime's CUDA build whole. */
  static Optional<Path> cudaBuild(String libraryPath) {
    return Stream.of(libraryPath.split(File.pathSeparator))
        .filter(folder -> !folder.isBlank())
        .map(folder -> Path.of(folder).toAbsolutePath())
        .filter(
            folder ->
                CUDA_BUILD.stream()
                    .map(System::mapLibraryName)
                    .allMatch(name -> Files.isRegularFile(folder.resolve(name))))
        .findFirst();
  }

  /**
   * ONNX Runtime's telemetry reads the process' command line when the library starts, and writes
   * past its buffer if that is long, as with a class path in {@code -cp}: the process would die.
   */
  static Optional<String> crash(String disableTelemetry, long commandLineBytes) {
    if ("1".equals(disableTelemetry) || commandLineBytes <= LONGEST_COMMAND_LINE) {
      return Optional.empty();
    }
    return Optional.of(
        "ONNX Runtime crashes in processes with a command line above "
            + LONGEST_COMMAND_LINE
            + " bytes, found "
            + commandLineBytes
            + "; set the environment variable "
            + DISABLE_TELEMETRY
            + "=1, or pass the class path in CLASSPATH");
  }

  private static long commandLineBytes() {
    try {
      return Files.readAllBytes(Path.of("/proc/self/cmdline")).length;
    } catch (IOException e) {
      return 0; // not Linux
    }
  }
}
