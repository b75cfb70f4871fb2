package io.nit.testing;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.stream.Stream;

/** Files that a process which a test starts has open, as Linux tells it. */
public final class OpenFiles {
  private OpenFiles() {}

  /**
   * Whether a process has a file open, or one in a folder; not if it has ended.
   *
   * @param file without symbolic links
   */
  public static boolean has(ProcessHandle process, Path file) throws IOException {
    Path links = Path.of("/proc", String.valueOf(process.pid()), "fd");
    try (Stream<Path> open = Files.list(links)) {
      return open.anyMatch(
          link -> {
            try {
              return Files.readSymbolicLink(link).startsWith(file);
            } catch (IOException e) {
              return false; // closed meanwhile
            }
          });
    } catch (IOException | UncheckedIOException e) {
      if (process.isAlive()) {
        throw e;
      }
      return false;
    }
  }
}
