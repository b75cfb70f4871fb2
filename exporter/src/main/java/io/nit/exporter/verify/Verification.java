package io.nit.exporter.verify;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.util.Locale;
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
 * @param baseline relative error of PyTorch's own arithmetic in the engine's precision on the same
 *     inputs, which {@code relative} may exceed by {@link #MOST_RATIO} at most; empty where it was
 *     not measured
 * @param psnr peak signal to noise of what was sampled, in dB; empty for a forward
 */
public record Verification(
    String against,
    String backend,
    String pack,
    double maxAbs,
    double relative,
    OptionalDouble bound,
    OptionalDouble baseline,
    OptionalDouble psnr) {
  /** What an engine's error may be of PyTorch's own in the same precision. */
  public static final double MOST_RATIO = 1.5;

  /** Of a forward, against a fixed bound or none. */
  public Verification(
      String against,
      String backend,
      String pack,
      double maxAbs,
      double relative,
      OptionalDouble bound) {
    this(
        against,
        backend,
        pack,
        maxAbs,
        relative,
        bound,
        OptionalDouble.empty(),
        OptionalDouble.empty());
  }

  /** Whether the error is within its bounds. */
  public boolean passed() {
    return (bound.isEmpty() || relative <= bound.getAsDouble())
        && (baseline.isEmpty() || relative <= MOST_RATIO * baseline.getAsDouble());
  }

  private double ratio() {
    return relative / baseline.getAsDouble();
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
    bound.ifPresent(value -> node.put("bound", value));
    if (baseline.isPresent()) {
      node.put("pytorch_relative", baseline.getAsDouble()).put("most_ratio", MOST_RATIO);
      if (Double.isFinite(ratio())) {
        node.put("ratio", ratio());
      }
    }
    if (psnr.isPresent()) {
      if (Double.isInfinite(psnr.getAsDouble())) {
        node.put("psnr_db", "equal");
      } else {
        node.put("psnr_db", Math.round(psnr.getAsDouble() * 100) / 100.0);
      }
    }
    if (bound.isPresent() || baseline.isPresent()) {
      node.put("passed", passed());
    }
    return node;
  }

  /** As a user reads it. */
  @Override
  public String toString() {
    StringBuilder text = new StringBuilder();
    text.append(
        String.format(
            Locale.ROOT,
            "%s against %s on %s: relative error %.2e",
            backend,
            against,
            pack,
            relative));
    bound.ifPresent(value -> text.append(String.format(Locale.ROOT, " (bound %.0e)", value)));
    baseline.ifPresent(
        value ->
            text.append(
                String.format(
                    Locale.ROOT,
                    ", PyTorch's own %.2e, ratio %.2f (at most %.1f)",
                    value,
                    ratio(),
                    MOST_RATIO)));
    text.append(String.format(Locale.ROOT, ", largest difference %.2e", maxAbs));
    psnr.ifPresent(value -> text.append(String.format(Locale.ROOT, ", PSNR %.1f dB", value)));
    return text.toString();
  }
}
