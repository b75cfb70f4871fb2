package io.nit.tests.bench;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.tensor.DType;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.testing.Errors;
import io.nit.testing.SyntheticWeights;
import io.nit.tests.parity.ExportedModel;
import io.nit.tests.parity.TrainerModel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Locale;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.global.torch;

/**
 * One forward of a mixed pack of 1,024 tokens: the exported file in ONNX Runtime against the
 * trainer's model on libtorch, on the same cores. A plain main and not JMH: the two take turns, so
 * that what else the machine does falls on both, and what counts is the ratio of each turn.
 *
 * <p>Arguments: preset (s), rounds (15), threads (every core).
 */
public final class ForwardBenchmark {
  // 256 + 384 + 160 + 192 + 32 = 1024 tokens
  private static final PackLayout PACK =
      PackLayout.of(new int[] {16, 24, 8, 12, 4}, new int[] {16, 16, 20, 16, 8});

  private ForwardBenchmark() {}

  /** Runs and prints a table. */
  public static void main(String[] args) throws Exception {
    NitConfig config = NitConfig.preset(args.length > 0 ? args[0] : "s");
    int rounds = args.length > 1 ? Integer.parseInt(args[1]) : 15;
    int threads =
        args.length > 2 ? Integer.parseInt(args[2]) : Runtime.getRuntime().availableProcessors();
    Path folder = Files.createTempDirectory("nit-bench-");
    torch.set_num_threads(threads);
    SyntheticWeights weights = new SyntheticWeights(config, false);
    try (ExportedModel ort = ExportedModel.of(config, weights, DType.F32, folder, threads);
        TrainerModel libtorch = new TrainerModel(config, weights)) {
      ForwardInputs in = VerificationPack.of(config, PACK).inputs();
      double error = Errors.relative(ort.forward(in), libtorch.forward(in));
      if (!(error <= 2e-5)) {
        throw new IllegalStateException("the two differ by " + error);
      }
      double[] ortTimes = new double[rounds];
      double[] libtorchTimes = new double[rounds];
      double[] ratios = new double[rounds];
      for (int i = -3; i < rounds; i++) {
        double first = milliseconds(() -> ort.forward(in));
        double second = milliseconds(() -> libtorch.forward(in));
        if (i >= 0) {
          ortTimes[i] = first;
          libtorchTimes[i] = second;
          ratios[i] = first / second;
        }
      }
      System.out.printf(
          Locale.ROOT,
          "hidden %d, depth %d; %s; %d threads; %d rounds; relative difference %.1e%n",
          config.hiddenSize(),
          config.depth(),
          PACK,
          threads,
          rounds,
          error);
      print("libtorch (ms)", libtorchTimes);
      print("ONNX Runtime (ms)", ortTimes);
      print("ratio", ratios);
    } finally {
      for (Path file : Files.list(folder).toList()) {
        Files.delete(file);
      }
      Files.delete(folder);
    }
  }

  private static double milliseconds(Callable<float[]> forward) throws Exception {
    long start = System.nanoTime();
    forward.call();
    return (System.nanoTime() - start) / 1e6;
  }

  private static void print(String what, double[] values) {
    Arrays.sort(values);
    System.out.printf(
        Locale.ROOT,
        "%-18s median %8.2f   best %8.2f   worst %8.2f%n",
        what,
        values[values.length / 2],
        values[0],
        values[values.length - 1]);
  }
}
