package io.nit.trainer.data;

import java.io.IOException;
import java.nio.file.InvalidPathException;
import java.nio.file.Path;

/** Paths named by files that nobody vouches for: they may not lead out of their folder. */
final class SafePath {
  private SafePath() {}

  /**
   * A path under a folder, by its text alone.
   *
   * @throws IllegalArgumentException if it is absolute, empty or leads out of the folder; {@code
   *     where} stands in the message
   */
  static Path resolve(Path folder, String relative, String where) {
    try {
      Path base = folder.normalize();
      Path path = base.resolve(relative).normalize();
      if (!relative.isEmpty()
          && !Path.of(relative).isAbsolute()
          && path.startsWith(base)
          && !path.equals(base)) {
        return path;
      }
    } catch (InvalidPathException e) {
      throw new IllegalArgumentException(where + ": no valid path: '" + relative + "'", e);
    }
    throw new IllegalArgumentException(
        where + ": expected a path inside " + folder + ", found '" + relative + "'");
  }

  /**
   * Checks that a file is inside a folder when all links are followed.
   *
   * @throws IOException if it leads out, or does not exist
   */
  static void requireInside(Path realFolder, Path file) throws IOException {
    Path real = file.toRealPath();
    if (!real.startsWith(realFolder)) {
      throw new IOException(file + ": a link leads out of the data folder, to " + real);
    }
  }
}
