package io.nit.core.trt;

/** TensorRT read a plan's bytes and made no engine of them. */
public final class PlanNotTakenException extends TensorRtException {
  private static final long serialVersionUID = 1;

  /** With a message. */
  public PlanNotTakenException(String message) {
    super(message);
  }
}
