package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import java.io.IOException;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicIntegerArray;
import org.junit.jupiter.api.Test;

class ParallelForTest {
  private static void run(int count, int workers, ParallelFor.Body body) throws IOException {
    try (Progress progress = Progress.start("turns", count, 0, " turns", true)) {
      ParallelFor.run(count, workers, StopSignal.none(), progress, body);
    }
  }

  private static void sleep() {
    try {
      Thread.sleep(100);
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  private static void await(CountDownLatch latch) {
    try {
      latch.await();
    } catch (InterruptedException e) {
      throw new IllegalStateException(e);
    }
  }

  @Test
  void everyTurnIsRunOnce() throws IOException {
    AtomicIntegerArray runs = new AtomicIntegerArray(1000);
    run(1000, 4, runs::incrementAndGet);
    for (int i = 0; i < runs.length(); i++) {
      assertEquals(1, runs.get(i), "turn " + i);
    }
  }

  @Test
  void aFailureIsThrownOnceNoTurnIsUnderWay() {
    CountDownLatch begun = new CountDownLatch(1);
    AtomicBoolean ended = new AtomicBoolean();
    IOException failure = new IOException("a turn failed");
    IOException thrown =
        assertThrows(
            IOException.class,
            () ->
                run(
                    2,
                    2,
                    turn -> {
                      if (turn == 0) {
                        begun.countDown();
                        sleep();
                        ended.set(true);
                      } else {
                        await(begun);
                        throw failure;
                      }
                    }));
    assertSame(failure, thrown);
    assertTrue(ended.get(), "the other turn was still under way");
  }

  @Test
  void anInterruptionEndsTheLoopOnceNoTurnIsUnderWay() {
    AtomicBoolean ended = new AtomicBoolean();
    Thread caller = Thread.currentThread();
    assertThrows(
        CancellationException.class,
        () ->
            run(
                2,
                1,
                turn -> {
                  assertEquals(0, turn, "a turn was begun after the interruption");
                  caller.interrupt();
                  sleep();
                  ended.set(true);
                }));
    assertTrue(Thread.interrupted(), "the interruption is kept");
    assertTrue(ended.get(), "a turn was still under way");
    assertFalse(Thread.interrupted());
  }
}
