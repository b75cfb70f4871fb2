package io.nit.core.cli;

import java.io.IOException;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import sun.misc.Signal;
import sun.misc.SignalHandler;

/**
 * Ctrl-C and SIGTERM as a wish: the first is noted for the work to end at its next safe point, a
 * second Ctrl-C ends the process at once.
 */
public final class StopSignal {
  private static final Logger LOG = LoggerFactory.getLogger(StopSignal.class);

  private final AtomicBoolean requested = new AtomicBoolean();
  private volatile boolean terminated;

  private StopSignal() {}

  /** Takes the process' signals over. */
  public static StopSignal install() {
    StopSignal stop = new StopSignal();
    Signal.handle(
        new Signal("INT"),
        signal -> {
          if (stop.requested.getAndSet(true)) {
            die(signal);
          }
        });
    Signal.handle(
        new Signal("TERM"),
        signal -> {
          if (!stop.requested.getAndSet(true)) {
            stop.terminated = true;
          }
        });
    return stop;
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
    for (String name : new String[] {"INT", "TERM", "HUP"}) {
      Signal.handle(
          new Signal(name),
          signal -> {
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
      Runtime.getRuntime().halt(128 + signal.getNumber());
    }
  }

  /** One that no signal reaches, for use inside an application. */
  public static StopSignal none() {
    return new StopSignal();
  }

  /** Asks for the stop, as a signal would. */
  public void request() {
    requested.set(true);
  }

  /**
   * Whether SIGTERM came first. Schedulers end a job with it, and take the exit code 0 as a sign
   * that the job has saved what it did.
   */
  public boolean terminated() {
    return terminated;
  }

  /** Whether to end at the next safe point. */
  public boolean requested() {
    return requested.get();
  }
}
