package io.nit.testing;

/** What a test's process holds. */
public final class Memory {
  private Memory() {}

  /** Bytes of heap in use after a collection. */
  public static long usedHeap() {
    System.gc();
    return Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
  }
}
