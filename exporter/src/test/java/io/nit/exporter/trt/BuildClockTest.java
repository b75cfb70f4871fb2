package io.nit.exporter.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.cuda.BuildMonitor.Timing;
import java.util.Optional;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;

class BuildClockTest {
  private static String line(double seconds, Timing timing, int profiles, double before) {
    return BuildClock.line(seconds, Optional.of(timing), profiles, before, "Timing graph nodes");
  }

  private static Timing running(int profiles, double took, double layers, double seconds) {
    return new Timing(profiles, took, Optional.of(layers), seconds);
  }

  @Test
  void withoutAMonitorTheTimeThatHasPassedIsTold() {
    assertEquals("building for 15 s", BuildClock.line(15.2, Optional.empty(), 5, 0, ""));
  }

  @Test
  void beforeTheFirstProfileThePhaseIsTold() {
    assertEquals(
        "building for 5 s (Optimizing graph)",
        BuildClock.line(5, Optional.empty(), 5, 0, "Optimizing graph"));
  }

  @Test
  void inTheFirstProfileItsLayersTellTheTimeLeft() {
    // 10 s for a quarter: 30 s for the rest of it, and 40 s for the second.
    assertEquals(
        "building for 12 s: profile 1 of 2, 25 % of its layers timed, about 70 s left",
        line(12, running(0, 0, 0.25, 10), 2, 0.1));
  }

  @Test
  void theTimeLeftIsNotGuessedFromNextToNothing() {
    assertEquals(
        "building for 20 s: profile 1 of 5, 4 % of its layers timed",
        line(20, running(0, 0, 0.04, 19), 5, 0));
  }

  @Test
  void norFromLayersThatStandStill() {
    assertEquals(
        "building for 45 s: profile 1 of 1, 25 % of its layers timed",
        line(45, running(0, 0, 0.25, 44), 1, 0.25));
  }

  @Test
  void profilesThatAreDoneTellWhatOneTakes() {
    // 20 s each: 15 s for the rest of the third and 40 s for two more, whatever its layers say.
    assertEquals(
        "building for 46 s: profile 3 of 5, 4 % of its layers timed, about 55 s left",
        line(46, running(2, 40, 0.04, 5), 5, 0.04));
    // Between two of them.
    assertEquals(
        "building for 41 s: 2 of 5 profiles timed, about 60 s left (Determining refit engines)",
        BuildClock.line(
            41,
            Optional.of(new Timing(2, 40, Optional.empty(), 0)),
            5,
            1,
            "Determining refit engines"));
  }

  @Test
  void aProfileThatTakesLongerThanThoseBeforeIsMeasuredByItsLayers() {
    // 30 s for half of it: 30 s more, and 20 s each for two more.
    assertEquals(
        "building for 72 s: profile 3 of 5, 50 % of its layers timed, about 70 s left",
        line(72, running(2, 40, 0.5, 30), 5, 0.5));
    assertEquals(
        "building for 72 s: profile 3 of 5, 4 % of its layers timed",
        line(72, running(2, 40, 0.04, 30), 5, 0));
  }

  @Test
  void afterTheLastProfileThePhaseIsTold() {
    assertEquals(
        "building for 72 s: 5 of 5 profiles timed (Building engine)",
        BuildClock.line(
            72, Optional.of(new Timing(5, 70, Optional.empty(), 0)), 5, 1, "Building engine"));
  }

  @Test
  void moreProfilesThanWereAnnouncedAreNoMistake() {
    assertEquals(
        "building for 25 s: profile 3 of 3, 50 % of its layers timed, about 5 s left",
        line(25, running(2, 20, 0.5, 5), 2, 0));
  }

  @Test
  void linesAreToldUntilTheEndAndNoneIsBegunAfterIt() throws InterruptedException {
    AtomicInteger lines = new AtomicInteger();
    CountDownLatch third = new CountDownLatch(3);
    BuildClock clock =
        BuildClock.start(
            Optional.empty(),
            1,
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
            1,
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
