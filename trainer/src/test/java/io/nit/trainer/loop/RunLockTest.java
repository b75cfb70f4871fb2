package io.nit.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RunLockTest {
  @TempDir Path folder;

  /** Tries to take the lock; exits with 3 if it is held. */
  static final class Other {
    public static void main(String[] args) throws IOException {
      try (RunLock lock = RunLock.acquire(Path.of(args[0]))) {
        System.exit(0);
      } catch (IOException e) {
        System.exit(e.getMessage().contains("another training") ? 3 : 4);
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
  void aFolderTakesOneTrainingAtATime() throws Exception {
    try (RunLock lock = RunLock.acquire(folder)) {
      assertEquals(3, otherProcess());
      IOException refused = assertThrows(IOException.class, () -> RunLock.acquire(folder));
      assertTrue(refused.getMessage().contains(folder.toString()), refused.getMessage());
      lock.close();
      lock.close();
    }
    assertEquals(0, otherProcess());
  }
}
