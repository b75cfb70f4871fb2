package io.nit.trainer.optim;

import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/** The norm of all gradients together, and clipping by it. */
public final class GradNorm {
  private static final double EPS = 1e-6;

  private GradNorm() {}

  /** √Σ g² over all parameters that have a gradient; NaN or infinite if one is. */
  public static double of(Map<String, Tensor> parameters) {
    double sum = 0;
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      for (Tensor parameter : parameters.values()) {
        Tensor gradient = parameter.grad();
        if (gradient.defined()) {
          double norm = gradient.norm().item_double();
          sum += norm * norm;
        }
      }
    }
    return Math.sqrt(sum);
  }

  /**
   * Scales the gradients down to a norm of {@code max} where theirs is larger.
   *
   * @param norm theirs, from {@link #of}
   */
  public static void clip(Map<String, Tensor> parameters, double norm, double max) {
    double factor = max / (norm + EPS);
    if (!(factor < 1)) {
      return;
    }
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Scalar scale = new Scalar(factor);
      for (Tensor parameter : parameters.values()) {
        Tensor gradient = parameter.grad();
        if (gradient.defined()) {
          gradient.mul_(scale);
        }
      }
    }
  }
}
