package io.nit.runtime.engine;

import io.nit.core.flow.Trajectory;

/**
 * Sampling with the latents kept where the model runs, from an image's first step to its last:
 * guidance and the samplers' moves are computed there, with the bits of {@link
 * io.nit.core.flow.Move}. The host only says what each step is, and need not wait for one before it
 * begins the next.
 *
 * <p>An image comes with its first step, whose values are taken from its {@link Trajectory}, and
 * leaves with its last, or when a step is begun without it. One sampler at a time; a step counts as
 * under way until it has been waited for.
 */
public interface ResidentSampling {
  /** The most steps that may be under way. */
  int MOST_STEPS = 2;

  /** A step under way, and then what came of it. */
  interface Step {
    /**
     * Waits until the step is over; at once the second time.
     *
     * @throws EngineException if it failed, the second time too; its images are lost
     */
    void await() throws EngineException;

    /**
     * Whether an image's values are finite after the step.
     *
     * @throws IllegalStateException before {@link #await}, or if that failed
     */
    boolean finite(int image);

    /**
     * The latent of an image whose last step this was, [elements].
     *
     * @throws IllegalStateException before {@link #await}, if that failed, or if it was not its
     *     last step
     */
    double[] latent(int image);
  }

  /**
   * Begins a step: a forward of a pack, and the move of each of its images. The trajectories stay
   * as they are; the caller advances them.
   *
   * @throws EngineException if it could not be begun; every image is then where it was
   * @throws IllegalStateException if {@link #MOST_STEPS} are under way, or an image's values lie
   *     neither here nor with the host
   */
  Step begin(StepInputs in) throws EngineException;
}
