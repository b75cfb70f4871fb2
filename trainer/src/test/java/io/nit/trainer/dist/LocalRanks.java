package io.nit.trainer.dist;

import java.io.IOException;
import java.net.ServerSocket;
import java.time.Duration;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;

/** Ranks as threads of one process, over real sockets. */
public final class LocalRanks {
  private LocalRanks() {}

  /**
   * What a rank does.
   *
   * @param <T> its result
   */
  @FunctionalInterface
  public interface Work<T> {
    /** Runs on the rank's own thread; the collectives are closed behind it. */
    T run(SocketCollectives collectives) throws Exception;
  }

  /** A port that is free for now. */
  public static int freePort() throws IOException {
    try (ServerSocket socket = new ServerSocket(0)) {
      return socket.getLocalPort();
    }
  }

  /** Starts a rank; its result or failure. */
  public static <T> Future<T> start(ExecutorService threads, Ranks ranks, Work<T> work) {
    return threads.submit(
        () -> {
          try (SocketCollectives met = SocketCollectives.meet(ranks, Duration.ofSeconds(20))) {
            return work.run(met);
          }
        });
  }

  /** Runs {@code worldSize} ranks to their ends; results by rank. */
  public static <T> List<T> run(int worldSize, Work<T> work) throws Exception {
    int port = freePort();
    ExecutorService threads = Executors.newFixedThreadPool(worldSize);
    try {
      List<Future<T>> futures = new ArrayList<>();
      for (int rank = 0; rank < worldSize; rank++) {
        futures.add(start(threads, new Ranks(rank, worldSize, rank, "127.0.0.1", port), work));
      }
      List<T> results = new ArrayList<>();
      for (Future<T> future : futures) {
        results.add(future.get(60, TimeUnit.SECONDS));
      }
      return results;
    } finally {
      threads.shutdownNow();
    }
  }
}
