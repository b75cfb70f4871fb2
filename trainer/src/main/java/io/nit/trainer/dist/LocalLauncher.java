package io.nit.trainer.dist;

import io.nit.core.cli.Cli;
import io.nit.core.cli.StopSignal;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.net.ServerSocket;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Starts the ranks of one host as processes of this same program, as torchrun would: the
 * environment says which is which. When one fails, all end; a signal to this process reaches all of
 * them.
 */
public final class LocalLauncher {
  private static final Logger LOG = LoggerFactory.getLogger(LocalLauncher.class);
  private static final long GRACE_SECONDS = 30;

  private LocalLauncher() {}

  /**
   * Runs {@code processes} ranks until all have ended.
   *
   * @param main the program's main class
   * @param arguments its arguments, without the one that asked for this
   * @return 0 done, 1 if a rank failed or was killed, 128 and the number of a signal that stopped
   *     them, else the ranks' own code
   */
  public static int run(int processes, Class<?> main, List<String> arguments) throws IOException {
    int port;
    try (ServerSocket free = new ServerSocket(0)) {
      port = free.getLocalPort();
    }
    // A signal is for the ranks, which end at their next step; this process waits for them.
    StopSignal stop = StopSignal.install();
    List<Process> ranks = new ArrayList<>();
    try {
      for (int rank = 0; rank < processes; rank++) {
        ranks.add(start(rank, processes, port, main, arguments));
      }
      return await(ranks, stop);
    } finally {
      ranks.forEach(Process::destroyForcibly);
    }
  }

  private static Process start(
      int rank, int processes, int port, Class<?> main, List<String> arguments) throws IOException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    command.addAll(ManagementFactory.getRuntimeMXBean().getInputArguments());
    command.add(main.getName());
    command.addAll(arguments);
    ProcessBuilder builder = new ProcessBuilder(command).inheritIO();
    Map<String, String> environment = builder.environment();
    environment.put("CLASSPATH", System.getProperty("java.class.path"));
    environment.put("RANK", Integer.toString(rank));
    environment.put("LOCAL_RANK", Integer.toString(rank));
    environment.put("WORLD_SIZE", Integer.toString(processes));
    environment.put("MASTER_ADDR", "127.0.0.1");
    environment.put("MASTER_PORT", Integer.toString(port));
    return builder.start();
  }

  private static int await(List<Process> ranks, StopSignal stop) throws IOException {
    boolean told = false;
    try {
      while (true) {
        if (stop.requested() && !told) {
          told = true;
          ranks.forEach(Process::destroy);
        }
        boolean alive = false;
        for (Process process : ranks) {
          if (process.isAlive()) {
            alive = true;
          } else if (process.exitValue() != 0) {
            int code = end(ranks);
            // The ranks were told by SIGTERM, whatever this process was told by.
            return code > Cli.BAD_USAGE && told ? stop.exitCode() : code;
          }
        }
        if (!alive) {
          return Cli.DONE;
        }
        Thread.sleep(50);
      }
    } catch (InterruptedException e) {
      Thread.currentThread().interrupt();
      throw new IOException("interrupted while the ranks were at work", e);
    }
  }

  /**
   * Waits for all: those that live see their lost peer themselves and say so; those that do not are
   * ended.
   */
  private static int end(List<Process> ranks) throws InterruptedException {
    long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(GRACE_SECONDS);
    int code = Cli.DONE;
    for (int rank = 0; rank < ranks.size(); rank++) {
      Process process = ranks.get(rank);
      if (!process.waitFor(Math.max(0, deadline - System.nanoTime()), TimeUnit.NANOSECONDS)) {
        LOG.error("rank {} did not end by itself", rank);
        process.destroyForcibly().waitFor();
      }
      int its = process.exitValue();
      boolean known = its <= Cli.BAD_USAGE || StopSignal.isExitCode(its);
      if (!known) {
        LOG.error("rank {} was killed (exit code {})", rank, its);
      }
      code = code == Cli.FAILED || !known || its == Cli.FAILED ? Cli.FAILED : Math.max(code, its);
    }
    return code;
  }
}
