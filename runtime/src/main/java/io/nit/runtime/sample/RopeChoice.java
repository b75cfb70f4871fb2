package io.nit.runtime.sample;

import io.nit.core.config.CustomFreqs;
import io.nit.core.rope.RopeSpec;
import java.util.Optional;

/**
 * An image's own choice of rotary frequencies over the model's.
 *
 * @param mode the mode, or empty for the model's
 * @param referenceLength L₀ in tokens, or 0 for the model's
 */
public record RopeChoice(Optional<CustomFreqs> mode, int referenceLength) {
  /** As the model's config says. */
  public static final RopeChoice MODEL = new RopeChoice(Optional.empty(), 0);

  /**
   * The frequencies of an image.
   *
   * @param model the model's spec
   * @throws IllegalArgumentException if the mode needs a reference length and neither names one
   */
  public RopeSpec over(RopeSpec model) {
    return equals(MODEL)
        ? model
        : model.withMode(mode.orElse(model.customFreqs()), referenceLength);
  }
}
