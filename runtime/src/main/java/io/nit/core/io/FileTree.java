package io.nit.core.io;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/** Folders with all that is in them. */
public final class FileTree {
  private FileTree() {}

  /**
   * Deletes a folder and what is in it, links themselves and not what they lead to.
   *
   * @throws IOException if something cannot be deleted; some of it may be gone then
   */
  public static void delete(Path root) throws IOException {
    List<Path> all;
    try (Stream<Path> tree = Files.walk(root)) {
      all = tree.sorted(Comparator.reverseOrder()).toList();
    }
    for (Path path : all) {
      Files.deleteIfExists(path);
    }
  }

  /**
   * Refuses a file where a folder is or will be.
   *
   * @param option that named it, such as {@code --output}
   * @throws IllegalArgumentException if {@code folder} is there and no folder
   */
  public static void requireFolderOrNothing(String option, Path folder) {
    if (Files.exists(folder) && !Files.isDirectory(folder)) {
      throw new IllegalArgumentException(option + ": expected a folder, found a file: " + folder);
    }
  }
}
