package io.nit.runtime;

/** Hears of every step. Called on the sampling thread: returns soon, and starts no sampling. */
@FunctionalInterface
public interface ProgressListener {
  /** One that hears nothing. */
  ProgressListener NONE = (request, step, steps) -> {};

  /**
   * A request has finished a step.
   *
   * @param request which
   * @param step steps finished, from 1
   * @param steps steps in all
   */
  void step(ImageRequest request, int step, int steps);
}
