package io.nit.exporter.trt;

import io.nit.core.trt.TensorRtException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;

/**
 * TensorRT's lean runtime, which a version-compatible plan takes along. The JavaCPP jars do not
 * hold it; NVIDIA's own packages of TensorRT do. It is looked for in
 *
 * <ol>
 *   <li>the file of the system property {@value #PROPERTY}
 *   <li>the folders of {@code java.library.path}, which begins with {@code LD_LIBRARY_PATH}
 * </ol>
 */
public final class LeanRuntime {
  /** Names the file. */
  public static final String PROPERTY = "nit.tensorrt.lean";

  private LeanRuntime() {}

  /**
   * Loads the library, so that the builder finds it by its name.
   *
   * @param version TensorRT's, for example 10.6.0
   * @return its file
   * @throws TensorRtException if there is none, naming where it was looked for, or it does not load
   */
  static Path load(String version) throws TensorRtException {
    Path file = find(version);
    try {
      System.load(file.toString());
    } catch (UnsatisfiedLinkError e) {
      throw new TensorRtException(
          "--version-compatible: " + file + " does not load: " + e.getMessage(), e);
    }
    return file;
  }

  /** Where the library of a version lies. */
  static Path find(String version) throws TensorRtException {
    String name = "libnvinfer_lean.so." + version.split("\\.")[0];
    String named = System.getProperty(PROPERTY);
    if (named != null && !named.isBlank()) {
      Path file = Path.of(named).toAbsolutePath();
      if (!Files.isRegularFile(file)) {
        throw new TensorRtException("-D" + PROPERTY + ": expected a file, found none at " + file);
      }
      return file;
    }
    List<String> folders =
        Arrays.stream(System.getProperty("java.library.path", "").split(":"))
            .filter(folder -> !folder.isBlank())
            .toList();
    for (String folder : folders) {
      Path file = Path.of(folder).resolve(name).toAbsolutePath();
      if (Files.isRegularFile(file)) {
        return file;
      }
    }
    throw new TensorRtException(
        "--version-compatible: expected TensorRT's lean runtime "
            + name
            + ", which the plan takes along, found none in "
            + folders
            + "; NVIDIA's packages of TensorRT "
            + version
            + " have it, the JavaCPP jars do not; -D"
            + PROPERTY
            + "=FILE names it");
  }
}
