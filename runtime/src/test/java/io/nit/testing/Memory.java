package io.nit.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;

/** What a test's process holds. */
public final class Memory {
  private Memory() {}

  /** Bytes of heap in use after a collection. */
  public static long usedHeap() {
    System.gc();
    return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
  }

  /** Bytes of host memory that the process has now, native memory included (Linux). */
  public static long resident() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("VmRSS:")) {
        return Long.parseLong(line.replaceAll("[^0-9]", "")) << 10;
      }
    }
    throw new IOException("/proc/self/status: expected VmRSS, found none");
  }
}
