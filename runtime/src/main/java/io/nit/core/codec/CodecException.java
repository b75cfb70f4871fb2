package io.nit.core.codec;

/** A codec that failed on a picture or a latent, as for lack of memory; it stays usable. */
public final class CodecException extends RuntimeException {
  private static final long serialVersionUID = 1;

  /** With a message and its cause. */
  public CodecException(String message, Throwable cause) {
    super(message, cause);
  }
}
