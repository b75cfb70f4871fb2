package io.nit.runtime.sample;

import io.nit.core.flow.Trajectory;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ResidentSampling;
import java.util.List;
import java.util.Optional;

/**
 * A step of a pack that was begun. The trajectories have moved on; where values stay with the
 * model, those of the images that are done come back with {@link #await}.
 */
public final class PackStep {
  private final PackForward model;
  private final Optional<ResidentSampling.Step> resident; // empty: over already
  private final List<SampledImage> images;
  private final int[] steps;
  private final boolean[] done;
  private final boolean[] finite;

  /** A step whose trajectories have moved on; looks at their values, where they are here. */
  PackStep(PackForward model, Optional<ResidentSampling.Step> resident, List<SampledImage> images) {
    this.model = model;
    this.resident = resident;
    this.images = List.copyOf(images);
    this.steps = new int[images.size()];
    this.done = new boolean[steps.length];
    this.finite = new boolean[steps.length];
    for (int i = 0; i < steps.length; i++) {
      Trajectory trajectory = images.get(i).trajectory();
      steps[i] = trajectory.step();
      done[i] = trajectory.done();
      finite[i] = resident.isEmpty() && finite(trajectory.x());
    }
  }

  /**
   * Waits until the step is over, and brings the latents of images that are done.
   *
   * @throws EngineException if it failed; all its images are lost
   */
  public void await() throws EngineException {
    if (resident.isEmpty()) {
      return;
    }
    ResidentSampling.Step step = resident.get();
    model.await(step);
    for (int i = 0; i < steps.length; i++) {
      Trajectory trajectory = images.get(i).trajectory();
      finite[i] = step.finite(i);
      if (done[i] && trajectory.elsewhere()) {
        trajectory.takeBack(step.latent(i));
      }
    }
  }

  /** How many steps image {@code index} had finished after this one. */
  public int steps(int index) {
    return steps[index];
  }

  /** Whether image {@code index} was done after this step. */
  public boolean done(int index) {
    return done[index];
  }

  /** Whether image {@code index} had finite values after this step; known once it is over. */
  public boolean finite(int index) {
    return finite[index];
  }

  private static boolean finite(double[] values) {
    double sum = 0;
    for (double value : values) {
      sum += value;
    }
    return Double.isFinite(sum);
  }
}
