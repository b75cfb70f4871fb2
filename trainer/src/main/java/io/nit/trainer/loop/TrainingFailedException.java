package io.nit.trainer.loop;

/** A training that cannot go on; the message says why and what was trained on. */
public final class TrainingFailedException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** With a message. */
  public TrainingFailedException(String message) {
    super(message);
  }
}
