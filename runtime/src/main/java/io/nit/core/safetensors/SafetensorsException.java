package io.nit.core.safetensors;

import java.io.IOException;

/**
 * A file that is not well-formed safetensors; the message says what was expected, what was found,
 * and where.
 */
public final class SafetensorsException extends IOException {
  private static final long serialVersionUID = 1;

  /** With a message. */
  public SafetensorsException(String message) {
    super(message);
  }

  /** With a message and its cause. */
  public SafetensorsException(String message, Throwable cause) {
    super(message, cause);
  }
}
