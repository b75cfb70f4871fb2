package io.nit.trainer.dist;

import java.io.IOException;
import java.time.Duration;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.function.Consumer;

/**
 * Notices that a rank is gone while the others wait for it where they cannot see it, as on a GPU:
 * the ranks send each other a sign of life every second over connections of their own. A process
 * that ends closes its connection, which is seen at once; one that hangs, or whose host is gone, is
 * given up after a while of silence.
 */
final class Watchdog implements AutoCloseable {
  private final SocketCollectives group;
  private final Consumer<RankLostException> onLoss;
  private final long pauseMillis;
  private final long silenceNanos;
  private final AtomicBoolean told = new AtomicBoolean();
  private final CountDownLatch end = new CountDownLatch(1);
  private volatile long lastSign = System.nanoTime();

  /**
   * Starts watching.
   *
   * @param group connections that nothing else uses; closed with this
   * @param pause time between two signs of life
   * @param silence time after which a rank that gives none is given up
   * @param onLoss told once, on a thread of the watchdog, which rank is gone
   */
  Watchdog(
      SocketCollectives group,
      Duration pause,
      Duration silence,
      Consumer<RankLostException> onLoss) {
    this.group = group;
    this.onLoss = onLoss;
    pauseMillis = pause.toMillis();
    // Rank 0 hears from all, and tells which one is silent; the others only hear from rank 0.
    silenceNanos = group.ranks().leads() ? silence.toNanos() : silence.toNanos() * 5 / 4;
    start("rank-signs", this::sendSigns);
    start("rank-watch", this::watchForSilence);
  }

  private static void start(String name, Runnable work) {
    Thread thread = new Thread(work, name);
    thread.setDaemon(true);
    thread.start();
  }

  private void sendSigns() {
    double[] sign = {1};
    try {
      while (!ended(pauseMillis)) {
        group.sum(sign);
        sign[0] = 1;
        lastSign = System.nanoTime();
      }
    } catch (RankLostException e) {
      tell(e);
    } catch (IOException | RuntimeException e) {
      tell(new RankLostException("the ranks' signs of life failed: " + e.getMessage(), e));
    }
  }

  private void watchForSilence() {
    while (!ended(pauseMillis)) {
      long silent = System.nanoTime() - lastSign;
      int peer = group.awaited();
      if (silent > silenceNanos && peer >= 0) {
        tell(
            group.giveUp(
                peer, "no sign of life for " + TimeUnit.NANOSECONDS.toSeconds(silent) + " s"));
        return;
      }
    }
  }

  private void tell(RankLostException loss) {
    if (end.getCount() > 0 && !told.getAndSet(true)) {
      onLoss.accept(loss);
    }
  }

  private boolean ended(long withinMillis) {
    try {
      return end.await(withinMillis, TimeUnit.MILLISECONDS);
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      return true;
    }
  }

  /** Stops watching; nothing is told any more. Safe to call twice. */
  @Override
  public void close() {
    end.countDown();
    group.close();
  }
}
