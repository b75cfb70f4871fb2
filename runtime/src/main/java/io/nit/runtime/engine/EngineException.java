package io.nit.runtime.engine;

/** A backend that could not be opened or a forward that failed; the message says which and why. */
public final class EngineException extends Exception {
  private static final long serialVersionUID = 1;

  /** With a message. */
  public EngineException(String message) {
    super(message);
  }

  /** With a message and its cause. */
  public EngineException(String message, Throwable cause) {
    super(message, cause);
  }
}
