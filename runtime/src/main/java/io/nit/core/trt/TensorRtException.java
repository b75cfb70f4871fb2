package io.nit.core.trt;

/** TensorRT or CUDA refused something; the message says what, with the library's own words. */
public class TensorRtException extends Exception {
  private static final long serialVersionUID = 1;

  /** With a message. */
  public TensorRtException(String message) {
    super(message);
  }

  /** With a message and its cause. */
  public TensorRtException(String message, Throwable cause) {
    super(message, cause);
  }
}
