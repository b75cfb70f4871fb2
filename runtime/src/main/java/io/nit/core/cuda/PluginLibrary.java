package io.nit.core.cuda;

import io.nit.core.io.AtomicFile;
import io.nit.core.io.Sha256;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;

/**
 * One {@code libnit_plugins.so}: where it lies and what it says of itself. The search order stands
 * in the package's description.
 *
 * @param file a file of the file system, for {@link System#load} and TensorRT's {@code loadLibrary}
 * @param source where the search found it
 * @param version the project's version at its build
 * @param cuda the CUDA toolkit that compiled it, for example 13.0
 * @param architectures GPU architectures it holds code for, for example {@code sm_90a}
 * @param sha256 of the file, lower-case hex; an engine is bound to it
 */
public record PluginLibrary(
    Path file,
    Source source,
    String version,
    String cuda,
    List<String> architectures,
    String sha256) {
  /** Names the file of a prebuilt library. */
  public static final String LIBRARY_PROPERTY = "nit.plugins.library";

  /** Names the folder for what is unpacked. */
  public static final String CACHE_PROPERTY = "nit.cache";

  /** Where the jar holds the library. */
  public static final String RESOURCE = "io/nit/plugins/linux-x86_64/libnit_plugins.so";

  private static final String FILE_NAME = "libnit_plugins.so";

  /** A library of all architectures has a few tens of megabytes; more is something else. */
  private static final long MOST_BYTES = 1L << 30;

  private static final Pattern DESCRIPTION =
      Pattern.compile(
          "NIT_PLUGINS\\{version=([^;{}\\x00]{1,64});cuda=([0-9.]{1,16});"
              + "architectures=([a-z0-9_,]{1,256})\\}");

  /** A place of the search. */
  public enum Source {
    /** {@value PluginLibrary#LIBRARY_PROPERTY}. */
    PROPERTY("system property " + LIBRARY_PROPERTY),
    /** The jar nit-plugins-trt, or its classes folder. */
    CLASS_PATH("class path"),
    /** A folder of java.library.path. */
    LIBRARY_PATH("java.library.path");

    private final String words;

    Source(String words) {
      this.words = words;
    }
  }

  /** Copies the list. */
  public PluginLibrary {
    architectures = List.copyOf(architectures);
  }

  /**
   * Searches in the package's order.
   *
   * @throws FileNotFoundException if there is none; its message names every place
   * @throws IOException if the one found is not ours or cannot be read or unpacked
   */
  public static PluginLibrary find() throws IOException {
    String named = System.getProperty(LIBRARY_PROPERTY);
    if (named != null && !named.isBlank()) {
      Path file = Path.of(named).toAbsolutePath();
      if (!Files.isRegularFile(file)) {
        throw new FileNotFoundException(
            "-D" + LIBRARY_PROPERTY + ": expected a file, found none at " + file);
      }
      return read(file, Source.PROPERTY);
    }
    Optional<PluginLibrary> unpacked = fromClassPath();
    if (unpacked.isPresent()) {
      return unpacked.get();
    }
    List<Path> folders = libraryPath();
    for (Path folder : folders) {
      Path file = folder.resolve(FILE_NAME).toAbsolutePath();
      if (Files.isRegularFile(file)) {
        return read(file, Source.LIBRARY_PATH);
      }
    }
    throw new FileNotFoundException(
        "expected "
            + FILE_NAME
            + ", found none: -D"
            + LIBRARY_PROPERTY
            + " is not set, the class path has no "
            + RESOURCE
            + " (jar nit-plugins-trt, built where nvcc is), java.library.path is "
            + folders);
  }

  private static Optional<PluginLibrary> fromClassPath() throws IOException {
    byte[] bytes;
    try (InputStream in = PluginLibrary.class.getClassLoader().getResourceAsStream(RESOURCE)) {
      if (in == null) {
        return Optional.empty();
      }
      bytes = in.readAllBytes();
    }
    String hash = Sha256.of(ByteBuffer.wrap(bytes));
    Path file = cache().resolve("plugins").resolve(hash).resolve(FILE_NAME);
    // The name holds the hash of what should be in it; a file that was tampered with is replaced.
    if (!Files.isRegularFile(file) || !Sha256.of(file).equals(hash)) {
      AtomicFile.write(file, temporary -> Files.write(temporary, bytes));
    }
    return Optional.of(read(file, Source.CLASS_PATH));
  }

  private static Path cache() {
    String named = System.getProperty(CACHE_PROPERTY);
    if (named != null && !named.isBlank()) {
      return Path.of(named).toAbsolutePath();
    }
    String xdg = System.getenv("XDG_CACHE_HOME");
    return xdg != null && !xdg.isBlank()
        ? Path.of(xdg).toAbsolutePath().resolve("nit")
        : Path.of(System.getProperty("user.home"), ".cache", "nit");
  }

  private static List<Path> libraryPath() {
    return Arrays.stream(System.getProperty("java.library.path", "").split(":"))
        .filter(part -> !part.isBlank())
        .map(Path::of)
        .toList();
  }

  /**
   * Reads what a library says of itself, without loading it.
   *
   * @throws IOException if the file is not an ELF library of ours
   */
  static PluginLibrary read(Path file, Source source) throws IOException {
    try (FileChannel channel = FileChannel.open(file)) {
      long size = channel.size();
      if (size > MOST_BYTES) {
        throw new IOException(file + ": expected at most " + MOST_BYTES + " bytes, found " + size);
      }
      // Latin-1 keeps every byte, so that a text can be looked for in a binary.
      ByteBuffer bytes = channel.map(FileChannel.MapMode.READ_ONLY, 0, size);
      CharSequence text = StandardCharsets.ISO_8859_1.decode(bytes);
      if (size < 4 || !"\u007fELF".contentEquals(text.subSequence(0, 4))) {
        throw new IOException(file + ": expected an ELF library, found " + size + " other bytes");
      }
      Matcher found = DESCRIPTION.matcher(text);
      if (!found.find()) {
        throw new IOException(
            file + ": expected NIT_PLUGINS{version=...} in it, found nothing of the kind");
      }
      return new PluginLibrary(
          file,
          source,
          found.group(1),
          found.group(2),
          List.of(found.group(3).split(",")),
          Sha256.of(file));
    }
  }

  /**
   * Whether the library holds code for a GPU: an architecture of the same major version and at most
   * its minor one; {@code a} architectures run on exactly theirs.
   *
   * @param major of the compute capability, 9 for an H100
   * @param minor of the compute capability
   * @return the best architecture, for example {@code sm_90a}
   */
  public Optional<String> architectureFor(int major, int minor) {
    String best = null;
    int bestMinor = -1;
    for (String architecture : architectures) {
      Matcher m = Pattern.compile("sm_([0-9]+)([0-9])(a?)").matcher(architecture);
      if (!m.matches() || Integer.parseInt(m.group(1)) != major) {
        continue;
      }
      int its = Integer.parseInt(m.group(2));
      boolean exact = !m.group(3).isEmpty();
      boolean runs = exact ? its == minor : its <= minor;
      if (runs && (its > bestMinor || its == bestMinor && exact)) {
        best = architecture;
        bestMinor = its;
      }
    }
    return Optional.ofNullable(best);
  }

  /**
   * Refuses a GPU that the library has no code for.
   *
   * @return the architecture it will run
   * @throws IllegalStateException naming what was found and how to build what is missing
   */
  public String requireArchitecture(int major, int minor) {
    return architectureFor(major, minor)
        .orElseThrow(
            () ->
                new IllegalStateException(
                    file
                        + ": expected code for compute capability "
                        + major
                        + "."
                        + minor
                        + ", found "
                        + String.join(", ", architectures)
                        + "; build it with mvn -pl plugins-trt package -Dnit.architectures="
                        + major
                        + minor));
  }

  /** File, version and architectures in a line, for logs. */
  @Override
  public String toString() {
    List<String> parts = new ArrayList<>();
    parts.add(FILE_NAME + " " + version);
    parts.add("CUDA " + cuda);
    parts.add(String.join(" ", architectures));
    return String.join(", ", parts) + ", " + file + " (" + source.words + ")";
  }
}
