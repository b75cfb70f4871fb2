package io.nit.core.cuda;

/** A kernel was not launched: what was expected and found, or CUDA's own message. */
public final class KernelException extends RuntimeException {
  private static final long serialVersionUID = 1L;

  /** Made by the native side. */
  public KernelException(String message) {
    super(message);
  }
}
