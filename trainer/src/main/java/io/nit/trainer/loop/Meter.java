package io.nit.trainer.loop;

import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

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
  private long since = System.nanoTime();

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

  private double tokensPerSecond() {
    return tokens / ((System.nanoTime() - since) / 1e9);
  }

  /** The share of the time, 0..1. */
  private double dataWait() {
    return waited / (double) Math.max(1, System.nanoTime() - since);
  }

  /** A few words for the progress bar. */
  String note(double rate) {
    return String.format(
        Locale.ROOT,
        "loss %.4f lr %.2e norm %.3f %.0f tokens/s, data wait %.1f %%",
        loss / steps,
        rate,
        gradNorm / steps,
        tokensPerSecond(),
        100 * dataWait());
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
    row.put("epoch", epoch);
    row.put("skipped_steps", (double) skipped);
    steps = 0;
    loss = flow = projection = gradNorm = 0;
    tokens = 0;
    waited = 0;
    since = System.nanoTime();
    return row;
  }
}
