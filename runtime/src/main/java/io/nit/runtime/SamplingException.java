package io.nit.runtime;

import java.util.List;

/** Requests that were taken but failed; the message names the first and why. */
public final class SamplingException extends Exception {
  private static final long serialVersionUID = 1;

  private final transient List<ImageResult> completed;

  SamplingException(String message, Throwable cause) {
    this(message, cause, List.of());
  }

  SamplingException(String message, Throwable cause, List<ImageResult> completed) {
    super(message, cause);
    this.completed = List.copyOf(completed);
  }

  /** The requests of the same batch that were served, in the batch's order. */
  public List<ImageResult> completed() {
    return completed;
  }
}
