package io.nit.core.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.stream.IntStream;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;

class ReportedErrorsTest {
  private final ReportedErrors errors = new ReportedErrors();
  private final ExecutorService first = Executors.newSingleThreadExecutor();
  private final ExecutorService second = Executors.newSingleThreadExecutor();
  private final ExecutorService library = Executors.newSingleThreadExecutor();

  @AfterEach
  void end() {
    List.of(first, second, library).forEach(ExecutorService::shutdown);
  }

  private void on(ExecutorService thread, String error) throws Exception {
    thread.submit(() -> errors.add(error)).get();
  }

  private void begin(ExecutorService thread) throws Exception {
    thread.submit(errors::begin).get();
  }

  private List<String> take(ExecutorService thread) throws Exception {
    Callable<List<String>> take = errors::take;
    return thread.submit(take).get();
  }

  @Test
  void callersThatFailTogetherHaveTheirOwnReasons() throws Exception {
    begin(first);
    begin(second);
    on(second, "of the second");
    on(first, "of the first");
    assertEquals(List.of("of the first"), take(first));
    assertEquals(List.of("of the second"), take(second));
    assertEquals(List.of(), take(first));
    assertEquals(List.of(), take(second));
  }

  @Test
  void whatTheLibrarysOwnThreadsTellIsToldToEveryCaller() throws Exception {
    begin(first);
    begin(second);
    on(library, "in the background");
    on(first, "of the first");
    assertEquals(List.of("in the background", "of the first"), take(first));
    assertEquals(List.of("in the background"), take(second));
    assertEquals(List.of(), take(second));
  }

  @Test
  void whoHasNoReasonIsToldThoseOfTheOthers() throws Exception {
    begin(first);
    begin(second);
    on(first, "of the first");
    assertEquals(List.of("of the first"), take(second));
    assertEquals(List.of("of the first"), take(first));
  }

  @Test
  void aCallThatBeginsLeavesWhatWasToldBefore() throws Exception {
    on(first, "long ago");
    on(library, "long ago too");
    begin(first);
    assertEquals(List.of(), take(first));
    on(first, "now");
    assertEquals(List.of("now"), take(first));
  }

  @Test
  void theFirstErrorsAndTheLastOneAreShown() {
    errors.begin();
    IntStream.range(0, 20).forEach(i -> errors.add("error " + i));
    List<String> shown = errors.take();
    assertEquals(8, shown.size());
    assertEquals("error 6", shown.get(6));
    assertEquals("error 19", shown.get(7));
    errors.add("x".repeat(1000));
    assertEquals(601, errors.take().get(0).length());
    IntStream.range(0, 1000).forEach(i -> errors.add("error " + i));
    assertTrue(errors.take().contains("error 999"));
  }
}
