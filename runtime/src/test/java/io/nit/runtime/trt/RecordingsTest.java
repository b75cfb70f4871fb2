package io.nit.runtime.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ch.qos.logback.classic.Level;
import ch.qos.logback.classic.Logger;
import ch.qos.logback.classic.spi.ILoggingEvent;
import ch.qos.logback.core.read.ListAppender;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.slf4j.LoggerFactory;

class RecordingsTest {
  private final Logger logger = (Logger) LoggerFactory.getLogger(Recordings.class);
  private final ListAppender<ILoggingEvent> lines = new ListAppender<>();
  private final Recordings recordings = new Recordings(Path.of("a.plan"), true);

  private Level level;
  private int calls;
  private int tries;
  private boolean memory;
  private boolean recorded;

  @BeforeEach
  void listen() {
    lines.start();
    level = logger.getLevel();
    logger.setLevel(Level.INFO);
    logger.addAppender(lines);
  }

  @AfterEach
  void stop() {
    logger.detachAppender(lines);
    logger.setLevel(level);
  }

  /** Of an engine with a size that comes again and again, and is recorded where there is memory. */
  private void call() {
    calls++;
    recordings.called();
    if (!recorded && recordings.on()) {
      tries++;
      if (memory) {
        recorded = true;
        recordings.recorded();
      } else {
        recordings.failed("expected 30 MiB");
      }
    }
  }

  private List<String> told() {
    return lines.list.stream()
        .map(line -> line.getLevel() + " " + line.getFormattedMessage())
        .toList();
  }

  @Test
  void whatFailsIsTriedAgainAfterTwiceAsManyCallsEachTimeAndLoggedOnce() {
    for (int i = 0; i < 1 + 512 + 1024 + 2048; i++) {
      call();
    }
    assertEquals(4, tries);
    for (int i = 0; i < 2_000_000; i++) {
      call();
    }
    int most = 2_000_000 / Recordings.LONGEST_PAUSE + 10;
    assertTrue(tries > most - 10 && tries < most, tries + " tries in " + calls + " calls");
    assertEquals(
        List.of(
            "WARN a.plan: CUDA graphs are off, the next is tried after 512 calls: expected 30 MiB"),
        told());
  }

  @Test
  void withMemoryAgainTheyAreOnAgainAndTheNextFailureIsAFirstOne() {
    call();
    memory = true;
    for (int i = 0; i < 511; i++) {
      call();
    }
    assertFalse(recorded, "in the pause");
    call();
    assertTrue(recorded);
    assertTrue(recordings.on());
    recorded = false;
    memory = false;
    call();
    assertFalse(recordings.on());
    String off =
        "WARN a.plan: CUDA graphs are off, the next is tried after 512 calls: expected 30 MiB";
    assertEquals(List.of(off, "INFO a.plan: CUDA graphs are on again", off), told());
  }

  @Test
  void whoAsksForRecordingsDoesNotWait() {
    call();
    assertFalse(recordings.on());
    recordings.again();
    assertTrue(recordings.on());
  }

  @Test
  void whereTheyAreNotWantedTheyStayOffAndNothingIsSaid() {
    Recordings off = new Recordings(Path.of("b.plan"), false);
    off.called();
    off.again();
    assertFalse(off.on());
    assertEquals(List.of(), told());
  }
}
