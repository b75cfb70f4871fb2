package io.nit.trainer.optim;

import io.nit.trainer.model.NitModel;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/**
 * The exponential moving average of a model's weights, {@code ema ← decay·ema + (1-decay)·weights}
 * after every step. The average is a model of its own, so it can be sampled from as it is.
 */
public final class Ema {
  private final NitModel average;

  /**
   * An average over {@code average}'s weights as they are.
   *
   * @param average the model that holds the average; closed by the caller
   */
  public Ema(NitModel average) {
    this.average = average;
  }

  /** The model that holds the average. */
  public NitModel model() {
    return average;
  }

  /** Makes the average equal to {@code model}'s weights. */
  public void copyFrom(NitModel model) {
    each(model, Tensor::copy_);
  }

  /**
   * Moves the average towards {@code model}'s weights.
   *
   * @param decay in [0, 1)
   */
  public void update(NitModel model, double decay) {
    try (PointerScope scope = new PointerScope()) {
      Scalar towards = new Scalar(1 - decay);
      each(model, (ema, weight) -> ema.lerp_(weight, towards));
    }
  }

  private interface Change {
    Tensor apply(Tensor ema, Tensor weight);
  }

  private void each(NitModel model, Change change) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      for (Map.Entry<String, Tensor> entry : average.parameters().entrySet()) {
        change.apply(entry.getValue(), model.parameters().get(entry.getKey()));
      }
    }
  }
}
