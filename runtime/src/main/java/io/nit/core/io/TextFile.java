package io.nit.core.io;

import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;

/** Reads small files of text, with failures that name the file. */
public final class TextFile {
  private TextFile() {}

  /**
   * The text of a file in UTF-8.
   *
   * @throws IOException if the file is not there or a folder, cannot be read, or holds other bytes;
   *     names it
   */
  public static String read(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      // Java's own message is "Is a directory", and does not say which.
      throw new FileSystemException(file.toString(), null, "expected a file, found a folder");
    }
    try {
      return Files.readString(file, StandardCharsets.UTF_8);
    } catch (CharacterCodingException e) {
      throw new IOException(file + ": expected UTF-8 text, found other bytes", e);
    }
  }
}
