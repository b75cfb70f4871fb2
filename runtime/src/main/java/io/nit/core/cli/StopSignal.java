package io.nit.core.cli;

import java.util.concurrent.atomic.AtomicBoolean;
import sun.misc.Signal;

/**
 * Ctrl-C and SIGTERM as a wish: the first is noted for the work to end at its next safe point, a
 * second Ctrl-C ends the process at once.
 */
public final class StopSignal {
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
            Runtime.getRuntime().halt(Cli.INTERRUPTED);
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
