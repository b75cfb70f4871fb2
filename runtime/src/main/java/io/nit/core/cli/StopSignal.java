package io.nit.core.cli;

import java.io.IOException;
import java.util.Arrays;
import java.util.concurrent.atomic.AtomicBoolean;
import java.util.concurrent.atomic.AtomicInteger;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/**
 * Ctrl-C, SIGTERM and a hang-up as a wish: the first is noted for the work to end at its next safe
 * point, a second Ctrl-C ends the process at once. A signal that was ignored when the process
 * began, as by {@code nohup}, stays so.
 *
 * <p>A job that a signal ended before its work was done ends with {@link #exitCode}, whatever it
 * has saved: schedulers take 0 as a sign that there is nothing left to do.
 */
public final class StopSignal {
  /** The number of Ctrl-C's signal, in POSIX. */
  private static final int INT = 2;

  /** What shells add to the number of the signal that ended a process. */
  private static final int ENDED_BY_SIGNAL = 128;

  /** No signal that is noted here has a larger number: SIGTERM's. */
  public static final int MOST = 15;

  private static final String[] NAMES = {"INT", "TERM", "HUP"};

  private static final Logger LOG = LoggerFactory.getLogger(StopSignal.class);

  private static volatile StopSignal installed = none();
  private static volatile boolean ending;

  private final AtomicInteger first = new AtomicInteger(); // its number, or 0

  private StopSignal() {}

  /** Takes the process' signals over. */
  public static StopSignal install() {
    StopSignal stop = new StopSignal();
    installed = stop;
    for (String name : NAMES) {
      Signal.handle(
          new Signal(name),
          signal -> {
            if (!stop.first.compareAndSet(0, signal.getNumber()) && signal.getNumber() == INT) {
              die(signal);
            }
          });
    }
    return stop;
  }

  /** The one that has the process' signals; {@link #none} where no command took them over. */
  static StopSignal ofProcess() {
    return installed;
  }

  /**
   * Makes the first Ctrl-C, SIGTERM or hang-up end the process at once: for native work that cannot
   * be asked to stop, and that crashes when its library's static objects are destroyed under it, as
   * at every exit that Java knows.
   *
   * @param last is done before, on a thread of its own; a second signal does not wait for it
   */
  public static void endAtOnce(Runnable last) {
    AtomicBoolean first = new AtomicBoolean(true);
    for (String name : NAMES) {
      Signal.handle(
          new Signal(name),
          signal -> {
            ending = true;
            try {
              if (first.getAndSet(false)) {
                last.run();
              }
            } finally {
              die(signal);
            }
          });
    }
  }

  /**
   * Waits for the end of the process if {@link #endAtOnce} is at it: what failed since then, as for
   * a file or another process that went, is no failure of the work.
   */
  static void awaitEndUnderWay() {
    while (ending) {
      try {
        Thread.sleep(Long.MAX_VALUE);
      } catch (InterruptedException e) {
        LOG.debug("interrupted while a signal ends the process", e);
      }
    }
  }

  /**
   * Ends the process as the signal does where nobody handles it: shells see 128 and its number.
   * {@link Runtime#halt} would run C's exit handlers, and with them the destructors of libraries
   * whose threads are at work.
   */
  private static void die(Signal signal) {
    try {
      Signal.handle(signal, SignalHandler.SIG_DFL);
      // Java raises no signal that it does not handle, so that the shell sends it.
      String kill = "kill -" + signal.getName() + " " + ProcessHandle.current().pid();
      new ProcessBuilder("sh", "-c", kill).start().waitFor();
      LOG.debug("{} did not end the process, as it is a container's first", signal);
    } catch (IOException | InterruptedException | RuntimeException e) {
      LOG.debug("{} cannot be sent", signal, e);
    } finally {
      Runtime.getRuntime().halt(ENDED_BY_SIGNAL + signal.getNumber());
    }
  }

  /** One that no signal reaches, for use inside an application. */
  public static StopSignal none() {
    return new StopSignal();
  }

  /** Asks for the stop, as Ctrl-C would. */
  public void request() {
    request(INT);
  }

  /**
   * Asks for the stop, as a signal would that another process got.
   *
   * @param signal its number, 1 to {@value #MOST}; the first counts
   */
  public void request(int signal) {
    first.compareAndSet(0, signal);
  }

  /** The number of the signal that came first, at most {@value #MOST}; 0 if none came. */
  public int signal() {
    return first.get();
  }

  /** Whether to end at the next safe point. */
  public boolean requested() {
    return first.get() != 0;
  }

  /**
   * What a job ends with that the stop ended: 128 and the signal's number, as shells count, so 130
   * for Ctrl-C and 143 for SIGTERM.
   */
  public int exitCode() {
    int signal = first.get();
    return ENDED_BY_SIGNAL + (signal == 0 ? INT : signal);
  }

  /** Whether a process that ended with this code was stopped by a signal that is noted here. */
  public static boolean isExitCode(int code) {
    return Arrays.stream(NAMES)
        .anyMatch(name -> code == ENDED_BY_SIGNAL + new Signal(name).getNumber());
  }
}
