package io.nit.trainer.optim;

import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * Adam with decoupled weight decay on all parameters.
 *
 * <p>Legend: g gradient, m and v the running means of g and g², k the step from 1. {@code θ ← θ·(1
 * - lr·λ) - lr/(1-β₁ᵏ) · m / (√v/√(1-β₂ᵏ) + ε)}.
 *
 * <p>Over {@link FlatParameters} all of it is a handful of operations on one tensor, however many
 * parameters there are; padding has gradient 0 and stays 0. It may then be of a part of the
 * elements alone: each of several processes keeps m and v of its part and changes that.
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
  private final List<Slot> slots = new ArrayList<>();
  private final Map<String, Tensor> expAvg;
  private final Map<String, Tensor> expAvgSq;
  private final Part part; // null without flat parameters
  private final Tensor counted; // steps of step(double, Tensor), float64 scalar on the device
  private final PointerScope owned;
  private long step;
  private boolean closed;

  /** A tensor to change, with its m and v. */
  private record Slot(Tensor parameter, Tensor m, Tensor v) {}

  /**
   * What an optimizer of flat parameters keeps.
   *
   * @param layout where which parameter lies
   * @param from first element of the flat parameters
   * @param to the element behind the last one
   * @param expAvg m, [to - from]; owned by the optimizer
   * @param expAvgSq v, likewise
   */
  public record Part(FlatParameters layout, long from, long to, Tensor expAvg, Tensor expAvgSq) {
    /** Whether these are all elements. */
    public boolean whole() {
      return to - from == layout.values().numel();
    }
  }

  /**
   * An optimizer at step 0.
   *
   * @param parameters by checkpoint key; must outlive the optimizer
   */
  public AdamW(Map<String, Tensor> parameters, Options options) {
    this.options = options;
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      scope.detach(guard);
      expAvg = zeros(parameters);
      expAvgSq = zeros(parameters);
      parameters.forEach((name, p) -> slots.add(new Slot(p, expAvg.get(name), expAvgSq.get(name))));
      part = null;
      counted = counter(parameters.values().iterator().next());
      owned = scope.extend();
    }
  }

  /** An optimizer at step 0 of parameters that lie in one tensor, which must outlive it. */
  public AdamW(FlatParameters flat, Options options) {
    this.options = options;
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      scope.detach(guard);
      Tensor m = torch.zeros_like(flat.values());
      Tensor v = torch.zeros_like(flat.values());
      expAvg = flat.views(m);
      expAvgSq = flat.views(v);
      slots.add(new Slot(flat.values(), m, v));
      part = new Part(flat, 0, flat.values().numel(), m, v);
      counted = counter(flat.values());
      owned = scope.extend();
    }
  }

  /**
   * An optimizer at step 0 of a part of the parameters that lie in one tensor, which must outlive
   * it; {@link #expAvg} and {@link #expAvgSq} have no entries.
   *
   * @param from first element
   * @param to the element behind the last one
   */
  public AdamW(FlatParameters flat, Options options, long from, long to) {
    this.options = options;
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      scope.detach(guard);
      Tensor values = flat.values().narrow(0, from, to - from);
      values.mutable_grad().put(flat.values().grad().narrow(0, from, to - from));
      Tensor m = torch.zeros_like(values);
      Tensor v = torch.zeros_like(values);
      expAvg = Map.of();
      expAvgSq = Map.of();
      slots.add(new Slot(values, m, v));
      part = new Part(flat, from, to, m, v);
      counted = counter(flat.values());
      owned = scope.extend();
    }
  }

  private static Tensor counter(Tensor beside) {
    return torch.zeros(1).squeeze().to(beside.device(), torch.ScalarType.Double);
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
      for (Slot slot : slots) {
        Tensor gradient = slot.parameter.grad();
        if (!gradient.defined()) {
          continue;
        }
        try (PointerScope each = new PointerScope()) {
          slot.m.lerp_(gradient, towardsGradient);
          slot.v.mul_(beta2).addcmul_(gradient, gradient, towardsSquare);
          Tensor scale = slot.v.sqrt().div_(correction).add_(eps);
          slot.parameter.mul_(decay).addcdiv_(slot.m, scale, down);
        }
      }
    }
  }

  /**
   * The same step where {@code good} is 1, and none where it is 0, without waiting for the device
   * to tell which. Gradients must be finite in both cases.
   *
   * @param good float32 scalar on the parameters' device
   */
  public void step(double learningRate, Tensor good) {
    open();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor k = count(good);
      Tensor one = remaining(k, options.beta1); // 1 - β₁ᵏ
      Tensor correction = remaining(k, options.beta2).sqrt().to(torch.ScalarType.Float);
      Tensor down = one.reciprocal().mul(good).mul(new Scalar(-learningRate));
      Tensor decay = good.mul(new Scalar(-learningRate * options.weightDecay)).add_(new Scalar(1f));
      Tensor towardsGradient = good.mul(new Scalar(1 - options.beta1));
      Tensor towardsSquare = good.mul(new Scalar(1 - options.beta2));
      Scalar eps = new Scalar(options.eps);
      for (Slot slot : slots) {
        Tensor gradient = slot.parameter.grad();
        if (!gradient.defined()) {
          continue;
        }
        try (PointerScope each = new PointerScope()) {
          slot.m.lerp_(gradient, towardsGradient);
          slot.v.lerp_(gradient.square(), towardsSquare);
          Tensor scale = slot.v.sqrt().div_(correction).add_(eps);
          Tensor change = slot.m.div(scale).mul_(down.to(torch.ScalarType.Float));
          slot.parameter.mul_(decay).add_(change);
        }
      }
    }
  }

  /**
   * Counts a step where {@code good} is 1, for a caller that changes parameters and its {@link
   * #part}'s moments itself, on the device.
   *
   * @param good float32 scalar on the parameters' device
   * @return float32 [3] on the device: {@code lr / (1 - β₁ᵏ)}, {@code √(1 - β₂ᵏ)}, {@code 1 -
   *     lr·λ}; belongs to the open {@code PointerScope}
   */
  public Tensor advance(double learningRate, Tensor good) {
    open();
    try (NoGradGuard guard = new NoGradGuard()) {
      Tensor k = count(good);
      Tensor stepSize = remaining(k, options.beta1).reciprocal().mul(new Scalar(learningRate));
      Tensor correction = remaining(k, options.beta2).sqrt();
      Tensor decay = torch.full_like(k, new Scalar(1 - learningRate * options.weightDecay));
      return torch.stack(new TensorVector(stepSize, correction, decay)).to(torch.ScalarType.Float);
    }
  }

  /** The constants. */
  public Options options() {
    return options;
  }

  /** Counts a step where {@code good} is 1; k, at least 1, float64 scalar on the device. */
  private Tensor count(Tensor good) {
    counted.add_(good);
    return counted.add(new Scalar((double) step)).clamp_min(new Scalar(1.0));
  }

  /** 1 - βᵏ, float64; β = 0 gives 1. */
  private static Tensor remaining(Tensor k, double beta) {
    return torch.pow(new Scalar(beta), k).neg().add(new Scalar(1.0));
  }

  /** Steps taken. */
  public long steps() {
    open();
    try (PointerScope scope = new PointerScope()) {
      return step + (long) counted.item_double();
    }
  }

  /** Sets the steps taken, after m and v were filled from a checkpoint. */
  public void restoreSteps(long steps) {
    if (steps < 0) {
      throw new IllegalArgumentException("optimizer step: expected 0 or more, found " + steps);
    }
    step = steps;
    try (PointerScope scope = new PointerScope()) {
      counted.zero_();
    }
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

  /** What it keeps of flat parameters, all of them or a part; empty without flat parameters. */
  public Optional<Part> part() {
    open();
    return Optional.ofNullable(part);
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
