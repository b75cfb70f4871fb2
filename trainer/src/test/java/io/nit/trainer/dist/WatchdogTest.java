package io.nit.trainer.dist;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;

@Timeout(60)
class WatchdogTest {
  private static final Duration PAUSE = Duration.ofMillis(20);
  private static final Duration LONG = Duration.ofSeconds(50);

  /** Ranks 0 and 1 watch; what they are told, in that order. Rank 2 does {@code last}. */
  private static List<RankLostException> lossesSeen(Duration silence, LocalRanks.Work<Void> last)
      throws Exception {
    int port = LocalRanks.freePort();
    ExecutorService threads = Executors.newFixedThreadPool(3);
    try {
      List<Future<RankLostException>> watching = new ArrayList<>();
      CountDownLatch both = new CountDownLatch(2);
      for (int rank = 0; rank < 2; rank++) {
        watching.add(
            LocalRanks.start(
                threads,
                new Ranks(rank, 3, rank, "127.0.0.1", port),
                group -> {
                  BlockingQueue<RankLostException> told = new LinkedBlockingQueue<>();
                  try (Watchdog dog = new Watchdog(group, PAUSE, silence, told::add)) {
                    RankLostException loss = told.poll(30, TimeUnit.SECONDS);
                    both.countDown();
                    both.await(30, TimeUnit.SECONDS);
                    assertNull(told.poll(), "told once");
                    return loss;
                  }
                }));
      }
      LocalRanks.start(threads, new Ranks(2, 3, 2, "127.0.0.1", port), last)
          .get(30, TimeUnit.SECONDS);
      List<RankLostException> seen = new ArrayList<>();
      for (Future<RankLostException> each : watching) {
        seen.add(each.get(30, TimeUnit.SECONDS));
      }
      return seen;
    } finally {
      threads.shutdownNow();
    }
  }

  @Test
  void aRankThatEndsIsNamedToAllOthers() throws Exception {
    List<RankLostException> seen =
        lossesSeen(
            LONG,
            group -> {
              for (int sign = 0; sign < 5; sign++) {
                group.sum(new double[1]);
              }
              return null; // and its connection is closed
            });
    String expected = "rank 2 of 3 is gone: its connection was closed";
    assertEquals(expected, seen.get(0).getMessage());
    assertEquals(expected + " (rank 0 says)", seen.get(1).getMessage());
  }

  @Test
  void aRankThatSaysNothingMoreIsGivenUp() throws Exception {
    CountDownLatch done = new CountDownLatch(1);
    List<RankLostException> seen =
        lossesSeen(
            Duration.ofMillis(1500),
            group -> {
              group.sum(new double[1]);
              // Alive, and connected, until after the others have given it up.
              assertFalse(done.await(4, TimeUnit.SECONDS));
              return null;
            });
    for (RankLostException loss : seen) {
      assertTrue(
          loss.getMessage().matches("rank 2 of 3 is gone: no sign of life for \\d+ s.*"),
          loss.getMessage());
    }
  }

  @Test
  void nothingIsToldAfterTheEnd() throws Exception {
    BlockingQueue<RankLostException> told = new LinkedBlockingQueue<>();
    LocalRanks.run(
        2,
        group -> {
          Watchdog dog = new Watchdog(group, PAUSE, LONG, told::add);
          Thread.sleep(200);
          dog.close();
          dog.close();
          return null;
        });
    // The other may see the first one's end; the one that has closed sees nothing.
    assertTrue(told.size() <= 1, told.toString());
  }
}
