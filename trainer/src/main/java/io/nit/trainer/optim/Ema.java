package io.nit.trainer.optim;

import io.nit.trainer.model.Network;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/**
 * The exponential moving average of a network's weights, {@code ema ← decay·ema +
 * (1-decay)·weights} after every step. The average is a network of its own, so it can be used as it
 * is.
 */
public final class Ema {
  private final Network average;

  /**
   * An average over {@code average}'s weights as they are.
   *
   * @param average the network that holds the average; closed by the caller
   */
  public Ema(Network average) {
    this.average = average;
  }

  /** The network that holds the average. */
  public Network model() {
    return average;
  }

  /** Makes the average equal to {@code model}'s weights. */
  public void copyFrom(Network model) {
    each(model, Tensor::copy_);
  }

  /**
   * Moves the average towards {@code model}'s weights.
   *
   * @param decay in [0, 1)
   */
  public void update(Network model, double decay) {
    try (PointerScope scope = new PointerScope()) {
      Scalar towards = new Scalar(1 - decay);
      each(model, (ema, weight) -> ema.lerp_(weight, towards));
    }
  }

  /**
   * As {@link #update(Network, double)} on parameters that lie in one tensor each, by a share that
   * is on the device.
   *
   * @param towards 1 - decay, a float32 scalar; 0 leaves the average as it is
   */
  public static void update(FlatParameters average, FlatParameters weights, Tensor towards) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      average.values().lerp_(weights.values(), towards);
    }
  }

  /**
   * A decay that rises to the asked one, {@code min(decay, (1+n)/(10+n))}, so that the average of a
   * short run is one of trained weights and not of the initial ones. The two agree from step
   * 9/(1-decay) on.
   *
   * @param n steps done, from 1
   */
  public static double warm(double decay, long n) {
    return Math.min(decay, (1.0 + n) / (10.0 + n));
  }

  private interface Change {
    Tensor apply(Tensor ema, Tensor weight);
  }

  private void each(Network model, Change change) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      for (Map.Entry<String, Tensor> entry : average.parameters().entrySet()) {
        change.apply(entry.getValue(), model.parameters().get(entry.getKey()));
      }
    }
  }
}
