package io.nit.exporter.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class BuildClockTest {
  @Test
  void withoutAMonitorTheTimeThatHasPassedIsTold() {
    assertEquals("building for 15 s", BuildClock.line(15.2, -1, ""));
  }

  @Test
  void theInnermostPhaseAndTheTimeLeftAreTold() {
    assertEquals(
        "building for 30 s, 25 % of the steps done, about 90 s left (nodes)",
        BuildClock.line(30, 0.25, "build > costs > nodes"));
    assertEquals(
        "building for 30 s, 100 % of the steps done, about 0 s left (build)",
        BuildClock.line(30, 1, "build"));
    assertEquals(
        "building for 30 s, 50 % of the steps done, about 30 s left", BuildClock.line(30, 0.5, ""));
  }

  @Test
  void theTimeLeftIsNotGuessedFromNextToNothing() {
    assertEquals(
        "building for 20 s, 4 % of the steps done (costs)",
        BuildClock.line(20, 0.04, "build > costs"));
    assertEquals("building for 5 s, 0 % of the steps done (build)", BuildClock.line(5, 0, "build"));
  }

  @Test
  void nothingIsSaidAfterTheEnd() throws InterruptedException {
    List<String> lines = new ArrayList<>();
    try (BuildClock clock = BuildClock.start(Optional.empty(), lines::add)) {
      assertTrue(clock.seconds() >= 0);
    }
    Thread.sleep(50);
    assertEquals(List.of(), lines);
  }
}
