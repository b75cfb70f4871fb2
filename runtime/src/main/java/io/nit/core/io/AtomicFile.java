package io.nit.core.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.AccessDeniedException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Writes a file so that its name never shows half of it: the bytes go to a temporary name in the
 * same folder, are forced to the disk, and are renamed over the target. A failure or a full disk
 * leaves the old file as it was and removes the temporary one; a kill leaves at most a {@code
 * .NAME.tmp-*} behind.
 */
public final class AtomicFile {
  private static final Logger LOG = LoggerFactory.getLogger(AtomicFile.class);
  private static final AtomicLong COUNTER = new AtomicLong();
  private static final Set<Path> UNDER_WAY = ConcurrentHashMap.newKeySet();

  private AtomicFile() {}

  /** Writes the content of a file. */
  @FunctionalInterface
  public interface Content {
    /** Writes everything to {@code temporary}, which does not exist yet. */
    void writeTo(Path temporary) throws IOException;
  }

  /**
   * Writes {@code target}, making its folder where needed.
   *
   * @throws IOException if writing fails; its message names {@code target}
   */
  public static void write(Path target, Content content) throws IOException {
    Path absolute = target.toAbsolutePath();
    Path folder = absolute.getParent();
    Files.createDirectories(folder);
    Path temporary =
        folder.resolve(
            "."
                + absolute.getFileName()
                + ".tmp-"
                + ProcessHandle.current().pid()
                + "-"
                + COUNTER.incrementAndGet());
    UNDER_WAY.add(temporary);
    try {
      content.writeTo(temporary);
      force(temporary);
      Files.move(
          temporary, absolute, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
    } catch (FileSystemException e) {
      throw named(e, temporary, target);
    } catch (IOException e) {
      throw new IOException("cannot write " + target + ": " + e.getMessage(), e);
    } finally {
      Files.deleteIfExists(temporary);
      UNDER_WAY.remove(temporary);
    }
  }

  /**
   * Removes the temporary files of writes that are under way, which then fail: for a process that
   * ends without waiting for its threads.
   */
  public static void abandonAll() {
    for (Path temporary : UNDER_WAY) {
      try {
        Files.deleteIfExists(temporary);
      } catch (IOException e) {
        LOG.warn("{} is left: {}", temporary, e.toString());
      }
    }
  }

  /** Names the target where a failure names the temporary file, which nobody asked for. */
  private static FileSystemException named(FileSystemException e, Path temporary, Path target) {
    if (!temporary.toString().equals(e.getFile())) {
      return e;
    }
    FileSystemException named =
        e instanceof AccessDeniedException
            ? new AccessDeniedException(target.toString())
            : new FileSystemException(
                target.toString(),
                null,
                "cannot be written"
                    + (e instanceof NoSuchFileException ? " in its folder" : "")
                    + (e.getReason() == null ? "" : " (" + e.getReason() + ")"));
    named.initCause(e);
    return named;
  }

  /** {@link #write(Path, Content)} of UTF-8 text. */
  public static void writeString(Path target, String text) throws IOException {
    write(target, temporary -> Files.writeString(temporary, text, StandardCharsets.UTF_8));
  }

  /** {@link #write(Path, Content)} of bytes. */
  public static void writeBytes(Path target, byte[] bytes) throws IOException {
    write(target, temporary -> Files.write(temporary, bytes));
  }

  private static void force(Path file) throws IOException {
    try (FileChannel channel = FileChannel.open(file, StandardOpenOption.WRITE)) {
      channel.force(true);
    }
  }
}
