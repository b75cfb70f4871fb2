package io.nit.exporter.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class BuildClockTest {
  @Test
  void withoutAMonitorTheTimeThatHasPassedIsTold() {
    assertEquals("building for 15 s", BuildClock.line(15.2, -1, 0, ""));
  }

  @Test
  void theInnermostPhaseAndTheTimeLeftAreTold() {
    assertEquals(
        "building for 30 s, 25 % of the steps done, about 90 s left (nodes)",
        BuildClock.line(30, 0.25, 0.1, "build > costs > nodes"));
    assertEquals(
        "building for 30 s, 100 % of the steps done, about 0 s left (build)",
        BuildClock.line(30, 1, -1, "build"));
    assertEquals(
        "building for 30 s, 50 % of the steps done, about 30 s left",
        BuildClock.line(30, 0.5, 0.4, ""));
  }

  @Test
  void theTimeLeftIsNotGuessedFromNextToNothing() {
    assertEquals(
        "building for 20 s, 4 % of the steps done (costs)",
        BuildClock.line(20, 0.04, 0, "build > costs"));
    assertEquals(
        "building for 5 s, 0 % of the steps done (build)", BuildClock.line(5, 0, 0, "build"));
  }

  @Test
  void norFromAShareThatStandsStill() {
    assertEquals(
        "building for 45 s, 25 % of the steps done (costs)",
        BuildClock.line(45, 0.25, 0.25, "build > costs"));
  }

  @Test
  void linesAreToldUntilTheEndAndNoneIsBegunAfterIt() throws InterruptedException {
    AtomicInteger lines = new AtomicInteger();
    CountDownLatch third = new CountDownLatch(3);
    BuildClock clock =
        BuildClock.start(
            Optional.empty(),
            line -> {
              lines.incrementAndGet();
              third.countDown();
            },
            1,
            1);
    assertTrue(third.await(1, TimeUnit.MINUTES), lines + " lines");
    clock.close();
    Thread.sleep(50); // for one that is being said
    int told = lines.get();
    Thread.sleep(50);
    assertEquals(told, lines.get());
  }

  @Test
  void theEndDoesNotInterruptALineThatIsBeingSaid() throws InterruptedException {
    CountDownLatch begun = new CountDownLatch(1);
    CountDownLatch ended = new CountDownLatch(1);
    CountDownLatch said = new CountDownLatch(1);
    AtomicBoolean interrupted = new AtomicBoolean();
    try (BuildClock clock =
        BuildClock.start(
            Optional.empty(),
            line -> {
              begun.countDown();
              try {
                ended.await();
              } catch (InterruptedException e) {
                interrupted.set(true);
              }
              said.countDown();
            },
            0,
            1)) {
      assertTrue(begun.await(1, TimeUnit.MINUTES));
      assertTrue(clock.seconds() >= 0);
    }
    ended.countDown();
    assertTrue(said.await(1, TimeUnit.MINUTES));
    assertFalse(interrupted.get());
  }
}
