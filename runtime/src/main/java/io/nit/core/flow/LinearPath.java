package io.nit.core.flow;

/**
 * The straight path between data and noise that NiT is trained on.
 *
 * <p>Legend: x₀ data, ε standard normal noise, t in [0, 1], {@code x_t = (1-t)·x₀ + t·ε}, velocity
 * {@code v = ε - x₀}.
 */
public final class LinearPath {
  private LinearPath() {}

  /** x_t. */
  public static double interpolate(double x0, double eps, double t) {
    return (1 - t) * x0 + t * eps;
  }

  /** The velocity ε - x₀ that the model predicts, the same for every t. */
  public static double velocity(double x0, double eps) {
    return eps - x0;
  }

  /** Score ∇ log p_t(x) from the velocity; t above 0. */
  public static double score(double v, double x, double t) {
    return (-(1 - t) * v - x) / (t * t + (1 - t) * t);
  }

  /** Training time from a standard normal draw: σ = exp(mean + std·draw), t = σ / (1 + σ). */
  public static double time(double draw, double mean, double std) {
    double sigma = Math.exp(mean + std * draw);
    return sigma / (1 + sigma);
  }
}
