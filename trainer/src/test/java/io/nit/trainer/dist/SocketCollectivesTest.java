package io.nit.trainer.dist;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.net.Socket;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

@Timeout(60)
class SocketCollectivesTest {
  private static final Device CPU = new Device("cpu");

  /** More than one chunk of the wire, and not a whole number of them. */
  private static final int LONG = (1 << 20) + 12_345;

  private static float[] values(int rank, int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) Math.sin(i * 0.37 + rank) * (rank + 1);
    }
    return values;
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3, 5})
  void everyRankGetsTheSumInTheOrderOfRanks(int worldSize) throws Exception {
    List<float[]> found =
        LocalRanks.run(
            worldSize,
            group -> {
              try (PointerScope scope = new PointerScope()) {
                int rank = group.ranks().rank();
                Tensor small = Weights.tensor(values(rank, 3), CPU, 3);
                Tensor large = Weights.tensor(values(rank, LONG), CPU, LONG);
                group.sum(List.of(small, large));
                float[] both = new float[3 + LONG];
                System.arraycopy(Weights.floats(small), 0, both, 0, 3);
                System.arraycopy(Weights.floats(large), 0, both, 3, LONG);
                return both;
              }
            });
    float[] expected = new float[3 + LONG];
    for (int rank = 0; rank < worldSize; rank++) {
      float[] small = values(rank, 3);
      float[] large = values(rank, LONG);
      for (int i = 0; i < expected.length; i++) {
        expected[i] += i < 3 ? small[i] : large[i - 3];
      }
    }
    for (float[] each : found) {
      assertArrayEquals(expected, each);
    }
  }

  @Test
  void doublesAreSummedAndTensorsShared() throws Exception {
    List<double[]> found =
        LocalRanks.run(
            3,
            group -> {
              try (PointerScope scope = new PointerScope()) {
                int rank = group.ranks().rank();
                double[] numbers = {rank, Double.NaN, rank == 1 ? 1e300 : 0};
                group.sum(numbers);
                Tensor tensor = Weights.tensor(values(rank, 1000), CPU, 10, 100);
                group.from(0, List.of(tensor));
                assertArrayEquals(values(0, 1000), Weights.floats(tensor));
                Tensor second = Weights.tensor(values(rank, 1000), CPU, 1000);
                group.from(2, List.of(second));
                assertArrayEquals(values(2, 1000), Weights.floats(second));
                byte[] bytes = {(byte) rank, (byte) (rank + 7)};
                group.fromFirst(bytes);
                assertArrayEquals(new byte[] {0, 7}, bytes);
                return numbers;
              }
            });
    for (double[] numbers : found) {
      assertArrayEquals(new double[] {3, Double.NaN, 1e300}, numbers);
    }
  }

  @Test
  void aLostRankIsNamedEverywhere() throws Exception {
    int port = LocalRanks.freePort();
    ExecutorService threads = Executors.newFixedThreadPool(3);
    CountDownLatch met = new CountDownLatch(3);
    try {
      List<Future<Void>> futures = new ArrayList<>();
      for (int rank = 0; rank < 3; rank++) {
        futures.add(
            LocalRanks.start(
                threads,
                new Ranks(rank, 3, rank, "127.0.0.1", port),
                group -> {
                  met.countDown();
                  met.await();
                  if (group.ranks().rank() == 2) {
                    return null; // and its connection is closed
                  }
                  while (true) {
                    group.sum(new double[] {1});
                  }
                }));
      }
      futures.get(2).get(20, TimeUnit.SECONDS);
      String expected = "rank 2 of 3 is gone: its connection was closed";
      assertEquals(expected, failure(futures.get(0)));
      assertEquals(expected + " (rank 0 says)", failure(futures.get(1)));
    } finally {
      threads.shutdownNow();
    }
  }

  private static String failure(Future<?> future) {
    ExecutionException e =
        assertThrows(ExecutionException.class, () -> future.get(20, TimeUnit.SECONDS));
    assertTrue(e.getCause() instanceof RankLostException, e.getCause().toString());
    return e.getCause().getMessage();
  }

  @Test
  void ranksOfAnotherWorldAreRefusedOnBothSides() throws Exception {
    int port = LocalRanks.freePort();
    ExecutorService threads = Executors.newFixedThreadPool(2);
    try {
      Future<Void> first =
          LocalRanks.start(threads, new Ranks(0, 2, 0, "127.0.0.1", port), group -> null);
      Future<Void> other =
          LocalRanks.start(threads, new Ranks(1, 3, 1, "127.0.0.1", port), group -> null);
      String message = "WORLD_SIZE: expected 2 as rank 0 has it, found 3";
      ExecutionException e =
          assertThrows(ExecutionException.class, () -> first.get(20, TimeUnit.SECONDS));
      assertTrue(e.getCause().getMessage().startsWith(message), e.getCause().getMessage());
      assertEquals(message + " (rank 0 says)", failure(other));
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void aStrangerIsTurnedAway() throws Exception {
    int port = LocalRanks.freePort();
    ExecutorService threads = Executors.newFixedThreadPool(2);
    try {
      LocalRanks.Work<Double> sum =
          group -> {
            double[] one = {1};
            group.sum(one);
            return one[0];
          };
      Future<Double> first = LocalRanks.start(threads, new Ranks(0, 2, 0, "127.0.0.1", port), sum);
      try (Socket stranger = connected(port)) {
        stranger
            .getOutputStream()
            .write("GET / HTTP/1.1\r\nHost: x\r\n\r\n".getBytes(StandardCharsets.US_ASCII));
        assertEquals(-1, stranger.getInputStream().read());
      } catch (IOException reset) {
        // Turned away as well: the system sends a reset when unread bytes are left.
      }
      Future<Double> second = LocalRanks.start(threads, new Ranks(1, 2, 1, "127.0.0.1", port), sum);
      assertEquals(2, first.get(20, TimeUnit.SECONDS));
      assertEquals(2, second.get(20, TimeUnit.SECONDS));
    } finally {
      threads.shutdownNow();
    }
  }

  private static Socket connected(int port) throws Exception {
    for (int i = 0; i < 200; i++) {
      try {
        return new Socket("127.0.0.1", port);
      } catch (IOException notYet) {
        Thread.sleep(50);
      }
    }
    throw new AssertionError("rank 0 does not listen");
  }

  @Test
  void ranksThatDoNotComeAreNamed() throws Exception {
    int port = LocalRanks.freePort();
    IOException e =
        assertThrows(
            IOException.class,
            () ->
                SocketCollectives.meet(
                    new Ranks(0, 3, 0, "127.0.0.1", port), Duration.ofMillis(200)));
    assertEquals(
        "rank 0: expected 3 ranks on port " + port + ", found 1; absent: 1, 2", e.getMessage());
    e =
        assertThrows(
            IOException.class,
            () ->
                SocketCollectives.meet(
                    new Ranks(1, 3, 1, "127.0.0.1", port), Duration.ofMillis(200)));
    assertTrue(
        e.getMessage()
            .startsWith("rank 1: expected rank 0 at 127.0.0.1:" + port + ", found nobody"),
        e.getMessage());
  }
}
