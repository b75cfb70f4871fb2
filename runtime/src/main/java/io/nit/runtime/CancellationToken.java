package io.nit.runtime;

import java.util.concurrent.atomic.AtomicBoolean;

/** Tells work in progress to stop; safe for several threads. Once cancelled it stays so. */
public final class CancellationToken {
  private final AtomicBoolean cancelled = new AtomicBoolean();

  /** One that is not cancelled yet. */
  public CancellationToken() {}

  /** Asks for the stop. */
  public void cancel() {
    cancelled.set(true);
  }

  /** Whether the stop was asked for. */
  public boolean isCancelled() {
    return cancelled.get();
  }
}
