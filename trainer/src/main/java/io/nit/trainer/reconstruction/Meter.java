package io.nit.trainer.reconstruction;

import io.nit.trainer.loop.TrainingLoop;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Locale;
import java.util.Map;

/** Means over the steps since the last row of metrics. */
final class Meter {
  private final boolean structure;
  private long steps;
  private final double[] sums = new double[ReconstructionLoss.TERMS];
  private double gradNorm;
  private long images;
  private long since = System.nanoTime();

  /** {@code structure} tells whether the loss has that term. */
  Meter(boolean structure) {
    this.structure = structure;
  }

  /** Counts images of a step, whatever came of it. */
  void trainedOn(int count) {
    images += count;
  }

  /** Counts a finite step's terms, in the order of {@link ReconstructionLoss.Terms}. */
  void add(float[] terms, double norm) {
    steps++;
    for (int i = 0; i < sums.length; i++) {
      sums[i] += terms[i];
    }
    gradNorm += norm;
  }

  /** The row, and a new start. */
  TrainingLoop.Report take(double rate, long skipped, double epoch) {
    double perSecond = images / ((System.nanoTime() - since) / 1e9);
    double psnr = Quality.psnr(sums[4] / steps);
    Map<String, Double> row = new LinkedHashMap<>();
    row.put("loss", sums[0] / steps);
    row.put("loss_l1", sums[1] / steps);
    row.put("loss_gradient", sums[2] / steps);
    if (structure) {
      row.put("loss_ssim", sums[3] / steps);
    }
    row.put("psnr", psnr);
    row.put("grad_norm", gradNorm / steps);
    row.put("lr", rate);
    row.put("images_per_second", perSecond);
    row.put("epoch", epoch);
    row.put("skipped_steps", (double) skipped);
    String note =
        String.format(
            Locale.ROOT,
            "loss %.4f psnr %.2f dB lr %.2e %.1f images/s",
            sums[0] / steps,
            psnr,
            rate,
            perSecond);
    steps = 0;
    Arrays.fill(sums, 0);
    gradNorm = 0;
    images = 0;
    since = System.nanoTime();
    return new TrainingLoop.Report(row, note);
  }
}
