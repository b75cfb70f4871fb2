package io.nit.core.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class FolderLockTest {
  @TempDir Path folder;

  /** Exits with 0 if it could take the lock, with 3 if not. */
  static final class Other {
    public static void main(String[] args) throws IOException {
      try (FolderLock lock = FolderLock.tryAcquire(Path.of(args[0])).orElse(null)) {
        System.exit(lock == null ? 3 : 0);
      }
    }
  }

  private int otherProcess() throws IOException, InterruptedException {
    Process process =
        new ProcessBuilder(
                List.of(
                    Path.of(System.getProperty("java.home"), "bin", "java").toString(),
                    "-cp",
                    System.getProperty("java.class.path"),
                    Other.class.getName(),
                    folder.toString()))
            .inheritIO()
            .start();
    assertTrue(process.waitFor(1, TimeUnit.MINUTES));
    return process.exitValue();
  }

  @Test
  void aFolderIsLockedForOthersUntilTheLockIsClosed() throws Exception {
    try (FolderLock lock = FolderLock.tryAcquire(folder).orElseThrow()) {
      assertEquals(3, otherProcess());
      assertTrue(FolderLock.tryAcquire(folder).isEmpty(), "taken twice by one process");
      lock.close();
      lock.close();
    }
    assertEquals(0, otherProcess());
    FolderLock.tryAcquire(folder).orElseThrow().close();
  }
}
