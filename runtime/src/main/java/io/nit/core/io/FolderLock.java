package io.nit.core.io;

import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.channels.FileLock;
import java.nio.channels.OverlappingFileLockException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Optional;

/**
 * A folder that one process at a time works in. The system lets go of the lock when the process
 * ends, however it ends, so a folder whose lock can be taken has no one at work in it; the empty
 * {@value #FILE} stays. Safe to close twice.
 */
public final class FolderLock implements AutoCloseable {
  /** Name of the file that is locked. */
  public static final String FILE = ".lock";

  private final FileChannel channel;

  private FolderLock(FileChannel channel) {
    this.channel = channel;
  }

  /**
   * Takes the lock of a folder.
   *
   * @return the lock, or empty if this or another process holds it
   * @throws IOException if the folder is not there or cannot be written to
   */
  public static Optional<FolderLock> tryAcquire(Path folder) throws IOException {
    FileChannel channel =
        FileChannel.open(folder.resolve(FILE), StandardOpenOption.CREATE, StandardOpenOption.WRITE);
    FileLock lock = null;
    try {
      lock = channel.tryLock();
    } catch (OverlappingFileLockException e) {
      return Optional.empty(); // held by this very process
    } finally {
      if (lock == null) {
        channel.close();
      }
    }
    return Optional.ofNullable(lock).map(held -> new FolderLock(channel));
  }

  @Override
  public void close() throws IOException {
    channel.close();
  }
}
