package io.nit.trainer.data;

import java.util.concurrent.Semaphore;

/**
 * Keeps decoding threads from filling the heap together: half of it is shared out by the pixels
 * under way, so that large pictures are decoded one after the other and small ones side by side. A
 * picture that needs more than the half alone is decoded alone.
 */
final class DecodeMemory {
  /** The decoder's image, RGB, alpha, and the turned or cropped copy. */
  private static final int BYTES_PER_PIXEL = 12;

  private static final int PIXELS_PER_PERMIT = 1024;
  private static final int PERMITS =
      (int)
          Math.max(
              1,
              Math.min(
                  Integer.MAX_VALUE,
                  Runtime.getRuntime().maxMemory() / 2 / BYTES_PER_PIXEL / PIXELS_PER_PERMIT));
  private static final Semaphore FREE = new Semaphore(PERMITS, true);

  private DecodeMemory() {}

  /** Waits for room; {@link #release} gives back what this returns. */
  static int acquire(long pixels) {
    int permits = (int) Math.min(PERMITS, 1 + pixels / PIXELS_PER_PERMIT);
    FREE.acquireUninterruptibly(permits);
    return permits;
  }

  static void release(int permits) {
    FREE.release(permits);
  }
}
