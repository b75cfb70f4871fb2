package io.nit.core.io;

import java.io.IOException;
import java.io.InputStream;
import java.nio.ByteBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;

/**
 * Reads small files of text: configs, manifests, indices. Failures name the file; what is too large
 * to be one of these is refused before it takes memory.
 */
public final class TextFile {
  /** Bytes of a small file at most; the largest that are known have some hundred thousand. */
  public static final int MOST_BYTES = 1 << 24;

  private TextFile() {}

  /**
   * The text of a file in UTF-8.
   *
   * @throws IOException if the file is not there or a folder, is larger than {@link #MOST_BYTES},
   *     cannot be read, or holds other bytes; names it
   */
  public static String read(Path file) throws IOException {
    if (Files.isDirectory(file)) {
      // Java's own message is "Is a directory", and does not say which.
      throw new FileSystemException(file.toString(), null, "expected a file, found a folder");
    }
    requireSmall(file);
    byte[] bytes;
    try (InputStream in = Files.newInputStream(file)) {
      bytes = in.readNBytes(MOST_BYTES + 1); // a pipe has no size
    }
    if (bytes.length > MOST_BYTES) {
      throw tooLarge(file, "more");
    }
    try {
      return StandardCharsets.UTF_8.newDecoder().decode(ByteBuffer.wrap(bytes)).toString();
    } catch (CharacterCodingException e) {
      throw new IOException(file + ": expected UTF-8 text, found other bytes", e);
    }
  }

  /**
   * Refuses a file that another reader would bring to memory whole.
   *
   * @throws IOException if it is larger than {@link #MOST_BYTES}, or not there; names it
   */
  public static void requireSmall(Path file) throws IOException {
    long bytes = Files.size(file);
    if (bytes > MOST_BYTES) {
      throw tooLarge(file, Long.toString(bytes));
    }
  }

  private static IOException tooLarge(Path file, String found) {
    return new FileSystemException(
        file.toString(), null, "expected at most " + MOST_BYTES + " bytes of text, found " + found);
  }
}
