package io.nit.samples.spring;

import io.nit.runtime.ImageRequest;
import java.util.concurrent.ThreadLocalRandom;

/**
 * What a client posts. What is missing but label, width and height is the bundle's default.
 *
 * @param label a class by its number or its name
 * @param width pixels
 * @param height pixels
 * @param steps steps of the sampler
 * @param guidanceScale of classifier-free guidance; 1 for none
 * @param seed the same seed gives the same picture; without one, each request draws its own
 */
record ImageBody(
    String label, Integer width, Integer height, Integer steps, Double guidanceScale, Long seed) {
  private static final long SEEDS = 1L << 32; // drawn seeds stay exact in every client's numbers

  /**
   * The request that was meant.
   *
   * @param request starts with the bundle's defaults
   * @throws IllegalArgumentException if a value does not fit; names it
   */
  ImageRequest toRequest(ImageRequest.Builder request, int maxSteps) {
    if (width == null || height == null) {
      throw new IllegalArgumentException(
          "width, height: expected pixels, found " + width + ", " + height);
    }
    if (steps != null) {
      if (steps > maxSteps) {
        throw new IllegalArgumentException(
            "steps: expected at most " + maxSteps + ", found " + steps);
      }
      request.steps(steps);
    }
    if (guidanceScale != null) {
      request.guidanceScale(guidanceScale);
    }
    return request
        .label(label)
        .size(width, height)
        .seed(seed == null ? ThreadLocalRandom.current().nextLong(SEEDS) : seed)
        .build();
  }
}
