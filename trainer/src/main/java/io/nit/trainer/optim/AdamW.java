package io.nit.trainer.optim;

import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * Adam with decoupled weight decay on all parameters.
 *
 * <p>Legend: g gradient, m and v the running means of g and g², k the step from 1. {@code θ ← θ·(1
 * - lr·λ) - lr/(1-β₁ᵏ) · m / (√v/√(1-β₂ᵏ) + ε)}.
 *
 * <p>Owns m and v until {@link #close}, which may be called twice.
 */
public final class AdamW implements AutoCloseable {
  /**
   * The constants.
   *
   * @param beta1 decay of m
   * @param beta2 decay of v
   * @param eps ε
   * @param weightDecay λ
   */
  public record Options(double beta1, double beta2, double eps, double weightDecay) {
    /** NiT's recipe: (0.9, 0.95), 1e-6, 0.01. */
    public static final Options STANDARD = new Options(0.9, 0.95, 1e-6, 0.01);

    /** Checks every value. */
    public Options {
      if (!(beta1 >= 0 && beta1 < 1 && beta2 >= 0 && beta2 < 1)) {
        throw new IllegalArgumentException(
            "--betas: expected two values in [0, 1), found " + beta1 + "," + beta2);
      }
      if (!(eps > 0 && eps < 1)) {
        throw new IllegalArgumentException("--eps: expected in (0, 1), found " + eps);
      }
      if (!(weightDecay >= 0 && weightDecay < 1)) {
        throw new IllegalArgumentException(
            "--weight-decay: expected in [0, 1), found " + weightDecay);
      }
    }
  }

  private final Options options;
  private final Map<String, Tensor> parameters;
  private final Map<String, Tensor> expAvg;
  private final Map<String, Tensor> expAvgSq;
  private final PointerScope owned;
  private long step;
  private boolean closed;

  /**
   * An optimizer at step 0.
   *
   * @param parameters by checkpoint key; must outlive the optimizer
   */
  public AdamW(Map<String, Tensor> parameters, Options options) {
    this.options = options;
    this.parameters = parameters;
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      scope.detach(guard);
      expAvg = zeros(parameters);
      expAvgSq = zeros(parameters);
      owned = scope.extend();
    }
  }

  private static Map<String, Tensor> zeros(Map<String, Tensor> parameters) {
    Map<String, Tensor> zeros = new LinkedHashMap<>();
    parameters.forEach((name, p) -> zeros.put(name, torch.zeros_like(p.detach())));
    return Collections.unmodifiableMap(zeros);
  }

  /** Takes one step along the gradients; a parameter without one stays as it is. */
  public void step(double learningRate) {
    open();
    step++;
    double stepSize = learningRate / (1 - Math.pow(options.beta1, step));
    double rootCorrection = Math.sqrt(1 - Math.pow(options.beta2, step));
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Scalar decay = new Scalar(1 - learningRate * options.weightDecay);
      Scalar towardsGradient = new Scalar(1 - options.beta1);
      Scalar beta2 = new Scalar(options.beta2);
      Scalar towardsSquare = new Scalar(1 - options.beta2);
      Scalar correction = new Scalar(rootCorrection);
      Scalar eps = new Scalar(options.eps);
      Scalar down = new Scalar(-stepSize);
      for (Map.Entry<String, Tensor> entry : parameters.entrySet()) {
        Tensor gradient = entry.getValue().grad();
        if (!gradient.defined()) {
          continue;
        }
        try (PointerScope each = new PointerScope()) {
          Tensor m = expAvg.get(entry.getKey());
          Tensor v = expAvgSq.get(entry.getKey());
          m.lerp_(gradient, towardsGradient);
          v.mul_(beta2).addcmul_(gradient, gradient, towardsSquare);
          Tensor scale = v.sqrt().div_(correction).add_(eps);
          entry.getValue().mul_(decay).addcdiv_(m, scale, down);
        }
      }
    }
  }

  /** Steps taken. */
  public long steps() {
    return step;
  }

  /** Sets the steps taken, after m and v were filled from a checkpoint. */
  public void restoreSteps(long steps) {
    if (steps < 0) {
      throw new IllegalArgumentException("optimizer step: expected 0 or more, found " + steps);
    }
    this.step = steps;
  }

  /** m by checkpoint key; owned by the optimizer. */
  public Map<String, Tensor> expAvg() {
    open();
    return expAvg;
  }

  /** v by checkpoint key; owned by the optimizer. */
  public Map<String, Tensor> expAvgSq() {
    open();
    return expAvgSq;
  }

  private void open() {
    if (closed) {
      throw new IllegalStateException("AdamW is closed");
    }
  }

  /** Frees m and v. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      owned.close();
    }
  }
}
