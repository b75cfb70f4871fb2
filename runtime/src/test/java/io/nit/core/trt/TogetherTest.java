package io.nit.core.trt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.function.Consumer;
import org.junit.jupiter.api.Test;

class TogetherTest {
  @Test
  void allRunAtOnceAndTheResultsStandInTheOrderOfTheTasks() throws Exception {
    CountDownLatch begun = new CountDownLatch(3);
    List<Together.Task<Integer>> tasks = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      int number = i;
      tasks.add(
          () -> {
            begun.countDown();
            return met(begun) ? number : -1;
          });
    }
    List<Integer> undone = new ArrayList<>();
    assertEquals(List.of(0, 1, 2), Together.run(tasks, undone::add));
    assertEquals(List.of(), undone);
  }

  private static boolean met(CountDownLatch latch) {
    try {
      return latch.await(30, TimeUnit.SECONDS);
    } catch (InterruptedException e) {
      return false;
    }
  }

  @Test
  void whatWasMadeIsUndoneWhereOnePieceFailsAndTheFirstFailureIsThrown() {
    CountDownLatch failed = new CountDownLatch(1);
    TensorRtException first = new TensorRtException("first");
    List<Together.Task<String>> tasks =
        List.of(
            () -> "made",
            () -> {
              failed.countDown();
              throw first;
            },
            () -> {
              met(failed);
              return "made after the failure";
            },
            () -> {
              throw new IllegalStateException("second");
            });
    List<String> undone = new ArrayList<>();
    assertSame(
        first, assertThrows(TensorRtException.class, () -> Together.run(tasks, undone::add)));
    assertEquals(List.of("made", "made after the failure"), undone);
  }

  @Test
  void whatIsNotUndoneKeepsNothingElseFromIt() {
    TensorRtException first = new TensorRtException("first");
    IllegalStateException stuck = new IllegalStateException("does not close");
    List<Together.Task<String>> tasks =
        List.of(
            () -> "made",
            () -> "made too",
            () -> {
              throw first;
            });
    List<String> undone = new ArrayList<>();
    Consumer<String> undo =
        made -> {
          undone.add(made);
          if (made.equals("made")) {
            throw stuck;
          }
        };
    assertSame(first, assertThrows(TensorRtException.class, () -> Together.run(tasks, undo)));
    assertEquals(List.of("made", "made too"), undone);
    assertArrayEquals(new Throwable[] {stuck}, first.getSuppressed());
  }

  @Test
  void laterFailuresAreKeptBesideTheFirst() {
    TensorRtException first = new TensorRtException("first");
    IllegalStateException second = new IllegalStateException("second");
    List<Together.Task<String>> tasks =
        List.of(
            () -> {
              throw first;
            },
            () -> {
              throw second;
            },
            () -> {
              throw first;
            });
    TensorRtException thrown =
        assertThrows(TensorRtException.class, () -> Together.run(tasks, made -> {}));
    assertSame(first, thrown);
    assertArrayEquals(new Throwable[] {second}, first.getSuppressed());
  }

  @Test
  void whereThereIsNoThreadForAPieceThoseThatRunAreWaitedForAndUndone() {
    OutOfMemoryError none = new OutOfMemoryError("no native thread");
    CountDownLatch refused = new CountDownLatch(1);
    AtomicInteger threads = new AtomicInteger();
    List<String> undone = new ArrayList<>();
    List<Together.Task<String>> tasks =
        List.of(() -> met(refused) ? "made after the refusal" : "not met", () -> "never begun");
    assertSame(
        none,
        assertThrows(
            OutOfMemoryError.class,
            () ->
                Together.run(
                    tasks,
                    undone::add,
                    task ->
                        threads.getAndIncrement() == 0
                            ? new Thread(task)
                            : new Thread(task) {
                              @Override
                              public void start() {
                                refused.countDown();
                                throw none;
                              }
                            })));
    assertEquals(List.of("made after the refusal"), undone);
  }

  @Test
  void anInterruptIsKeptUntilAllIsDone() throws Exception {
    Thread.currentThread().interrupt();
    assertEquals(List.of("made"), Together.run(List.of(() -> "made"), made -> {}));
    assertTrue(Thread.interrupted());
    assertFalse(Thread.interrupted());
  }
}
