package io.nit.trainer.dist;

import java.io.IOException;

/** A process that trains together with this one is gone; the message names it. */
public final class RankLostException extends IOException {
  private static final long serialVersionUID = 1L;

  /** With the rank's name and what was seen of its end. */
  public RankLostException(String message, Throwable cause) {
    super(message, cause);
  }
}
