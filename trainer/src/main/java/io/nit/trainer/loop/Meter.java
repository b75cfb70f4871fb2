package io.nit.trainer.loop;

import io.nit.trainer.dist.Collectives;
import io.nit.trainer.model.TrainingCost;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.function.LongSupplier;

/** Means over the steps since the last row of metrics. */
final class Meter {
  private long steps;
  private double loss;
  private double flow;
  private double projection;
  private boolean aligned;
  private double gradNorm;
  private long tokens;
  private long waited;
  private OptionalDouble sumWait = OptionalDouble.empty();
  private OptionalDouble sumBusy = OptionalDouble.empty();
  private double flops;
  private final Optional<Gpu> gpu;
  private long since = System.nanoTime();

  /**
   * What a GPU's share of its work and of its memory are told by.
   *
   * @param peakFlops what it could compute in a second, if that is known
   * @param memory the most bytes in tensors since the last call
   */
  record Gpu(OptionalDouble peakFlops, LongSupplier memory) {}

  Meter(Optional<Gpu> gpu) {
    this.gpu = gpu;
  }

  void add(Trainer.StepResult step) {
    tokens += step.tokens();
    if (!step.finite()) {
      return;
    }
    steps++;
    loss += step.loss();
    flow += step.flow();
    aligned |= step.projection().isPresent();
    projection += step.projection().orElse(0.0);
    gradNorm += step.gradNorm();
  }

  /** Counts time in which the steps waited for data. */
  void waited(long nanos) {
    waited += nanos;
  }

  /** Counts what the processes' sums have cost the device. */
  void summed(Collectives.Times times) {
    sumWait = OptionalDouble.of(sumWait.orElse(0) + times.waited());
    sumBusy = OptionalDouble.of(sumBusy.orElse(0) + times.busy());
  }

  /** Whether no step was added since the last row. */
  boolean isEmpty() {
    return steps == 0;
  }

  /** Counts useful work of this process' device, see {@link TrainingCost}. */
  void computed(double more) {
    flops += more;
  }

  private OptionalDouble utilisation() {
    if (gpu.isEmpty() || gpu.get().peakFlops.isEmpty()) {
      return OptionalDouble.empty();
    }
    double seconds = (System.nanoTime() - since) / 1e9;
    return OptionalDouble.of(flops / seconds / gpu.get().peakFlops.getAsDouble());
  }

  private double tokensPerSecond() {
    return tokens / ((System.nanoTime() - since) / 1e9);
  }

  /** The share of the time, 0..1. */
  private double dataWait() {
    return waited / (double) Math.max(1, System.nanoTime() - since);
  }

  /** A few words for the progress bar. */
  String note(double rate) {
    String note =
        String.format(
            Locale.ROOT,
            "loss %.4f lr %.2e norm %.3f %.0f tokens/s, data wait %.1f %%",
            loss / steps,
            rate,
            gradNorm / steps,
            tokensPerSecond(),
            100 * dataWait());
    OptionalDouble share = utilisation();
    if (share.isPresent()) {
      note += String.format(Locale.ROOT, ", MFU %.1f %%", 100 * share.getAsDouble());
    }
    return note;
  }

  /** The row, and a new start. */
  Map<String, Double> take(double rate, long skipped, double epoch) {
    Map<String, Double> row = new LinkedHashMap<>();
    row.put("loss", loss / steps);
    row.put("loss_flow", flow / steps);
    if (aligned) {
      row.put("loss_proj", projection / steps);
    }
    row.put("grad_norm", gradNorm / steps);
    row.put("lr", rate);
    row.put("tokens_per_second", tokensPerSecond());
    row.put("data_wait", dataWait());
    double seconds = (System.nanoTime() - since) / 1e9;
    sumWait.ifPresent(waited -> row.put("sum_wait", waited / seconds));
    sumBusy.ifPresent(busy -> row.put("sum_busy", busy / seconds));
    utilisation().ifPresent(share -> row.put("mfu", share));
    gpu.ifPresent(g -> row.put("memory_gib", g.memory.getAsLong() / 0x1p30));
    row.put("epoch", epoch);
    row.put("skipped_steps", (double) skipped);
    steps = 0;
    loss = flow = projection = gradNorm = 0;
    tokens = 0;
    waited = 0;
    sumWait = OptionalDouble.empty();
    sumBusy = OptionalDouble.empty();
    flops = 0;
    since = System.nanoTime();
    return row;
  }
}
