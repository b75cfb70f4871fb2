package io.nit.exporter.verify;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.OptionalDouble;

/**
 * How far a backend's results are from the reference's on one input: a pack's velocities, or an
 * autoencoder's latent or picture.
 *
 * @param against the reference's weights: {@code reference} for the weights as stored, {@code
 *     reference-f32} for the checkpoint's own
 * @param backend what ran the file
 * @param pack the images' sizes in tokens; of an autoencoder the file and the picture's height and
 *     width
 * @param maxAbs largest difference of any value
 * @param relative ‖found - expected‖ / ‖expected‖; infinity where a value is not finite
 * @param bound what {@code relative} may be at most; empty where the number is for information
 */
public record Verification(
    String against,
    String backend,
    String pack,
    double maxAbs,
    double relative,
    OptionalDouble bound) {

  /** Whether the error is within its bound. */
  public boolean passed() {
    return bound.isEmpty() || relative <= bound.getAsDouble();
  }

  /** The entry of a bundle's {@code verification}. */
  public ObjectNode toNode() {
    ObjectNode node =
        JsonNodeFactory.instance
            .objectNode()
            .put("against", against)
            .put("backend", backend)
            .put("pack", pack)
            .put("max_abs", maxAbs)
            .put("relative", relative);
    bound.ifPresent(value -> node.put("bound", value).put("passed", passed()));
    return node;
  }

  /** As a user reads it. */
  @Override
  public String toString() {
    return String.format(
        java.util.Locale.ROOT,
        "%s against %s on %s: relative error %.2e%s, largest difference %.2e",
        backend,
        against,
        pack,
        relative,
        bound.isPresent()
            ? String.format(java.util.Locale.ROOT, " (bound %.0e)", bound.getAsDouble())
            : "",
        maxAbs);
  }
}
