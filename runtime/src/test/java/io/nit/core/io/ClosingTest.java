package io.nit.core.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import org.junit.jupiter.api.Test;

class ClosingTest {
  private final List<String> closed = new ArrayList<>();

  private void throwing(Throwable failure) {
    closed.add("failed");
    if (failure instanceof Error e) {
      throw e;
    }
    throw (RuntimeException) failure;
  }

  @Test
  void allAreClosedAndTheFirstFailureHasTheLaterOnes() {
    IllegalStateException first = new IllegalStateException("the first");
    Error second = new NoClassDefFoundError("the second");
    assertSame(
        first,
        assertThrows(
            IllegalStateException.class,
            () ->
                Closing.all(
                    () -> throwing(first),
                    () -> closed.add("between"),
                    () -> throwing(second),
                    () -> throwing(first),
                    () -> closed.add("last"))));
    assertEquals(List.of("failed", "between", "failed", "failed", "last"), closed);
    assertArrayEquals(new Throwable[] {second}, first.getSuppressed());
  }

  @Test
  void aCheckedFailureIsThrownAsItIs() {
    List<String> owners = List.of("a", "b", "c");
    IOException e =
        assertThrows(
            IOException.class,
            () ->
                Closing.each(
                    owners,
                    owner -> {
                      closed.add(owner);
                      throw new IOException(owner);
                    }));
    assertEquals(owners, closed);
    assertEquals("a", e.getMessage());
    assertEquals(
        List.of("b", "c"), List.of(e.getSuppressed()).stream().map(Throwable::getMessage).toList());
  }

  @Test
  void afterAFailureItIsTheFailureThatIsTold() {
    Exception failure = new Exception("what went wrong");
    RuntimeException later = new IllegalStateException("while closing");
    Closing.after(failure, () -> throwing(later), () -> closed.add("last"));
    assertEquals(List.of("failed", "last"), closed);
    assertArrayEquals(new Throwable[] {later}, failure.getSuppressed());
  }

  @Test
  void anOwnerIsClosedAfterAFailureWhichKeepsWhatThatThrows() {
    IllegalStateException failure = new IllegalStateException("the first");
    Closing.ownerAfter(failure, null);
    Closing.ownerAfter(failure, () -> closed.add("owner"));
    IOException unfreed = new IOException("unfreed");
    Closing.ownerAfter(
        failure,
        () -> {
          throw unfreed;
        });
    assertEquals(List.of("owner"), closed);
    assertArrayEquals(new Throwable[] {unfreed}, failure.getSuppressed());
  }
}
