package io.nit.tests.bench;

import static io.nit.tests.bench.Arguments.argument;

import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.oracle.ForwardOracle;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.TensorRt;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.EngineBuilder;
import io.nit.exporter.trt.SmallPackKernels;
import io.nit.exporter.trt.TrtModel;
import io.nit.exporter.verify.EngineVerifier;
import io.nit.exporter.verify.Verification;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ProfileCheck;
import io.nit.runtime.trt.TensorRtEngine;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;

/**
 * How far engines with random weights are from the trainer's forward in single precision: one in
 * bf16, whose error may be 1.5 times that of PyTorch in bf16 on the same inputs, and one in f32,
 * whose error may be 1e-4. Each plan is measured on the small packs and the mixed one of the
 * verification, then each profile is filled. The trainer computes on the CPU, 402 tokens at most.
 *
 * <p>Arguments: preset (xl), folder for the files (ratio-bench), buckets of the bf16 engine
 * (512,2048), buckets of the f32 engine (512); "none" for no such engine. Ends with 1 where an
 * error is above its bound, after all were told.
 */
public final class RatioBenchmark {
  private RatioBenchmark() {}

  /** Builds and measures. */
  public static void main(String[] args) throws Exception {
    NitConfig config = NitConfig.preset(argument(args, 0, "xl"));
    Path folder = Path.of(argument(args, 1, "ratio-bench"));
    Files.createDirectories(folder);
    Optional<String> refusal = TensorRt.refusal(0);
    if (refusal.isPresent()) {
      System.err.println("RatioBenchmark: " + refusal.get());
      System.exit(1);
    }
    System.out.println(Gpu.open(0));
    boolean passed = true;
    for (DType precision : new DType[] {DType.BF16, DType.F32}) {
      boolean bf16 = precision == DType.BF16;
      String buckets = argument(args, bf16 ? 2 : 3, bf16 ? "512,2048" : "512");
      if (!buckets.equals("none")) {
        passed &= measure(config, precision, Arguments.numbers(buckets), folder);
      }
    }
    System.out.println(passed ? "all within their bounds" : "ABOVE A BOUND");
    System.exit(passed ? 0 : 1);
  }

  private static boolean measure(NitConfig config, DType precision, int[] buckets, Path folder)
      throws Exception {
    String name = precision.name().toLowerCase(Locale.ROOT);
    List<Integer> tokens = Arrays.stream(buckets).boxed().toList();
    // As nit-export has it: our library is in 16-bit engines alone.
    Optional<PluginLibrary> plugins =
        precision == DType.F32 ? Optional.empty() : Optional.of(PluginLibrary.find());
    Optional<String> onePlan = SmallPackKernels.refusal(config, precision, Traits.NONE, tokens);
    if (onePlan.isEmpty()) {
      String computeCapability = Gpu.open(0).computeCapability();
      onePlan = SmallPackKernels.refusalOn(computeCapability, plugins.orElseThrow());
    }
    BuildOptions options =
        new BuildOptions(
                0,
                tokens,
                BuildOptions.MAX_IMAGES,
                BuildOptions.WORKSPACE,
                BuildOptions.OPTIMIZATION_LEVEL,
                Optional.of(folder.resolve("timings")))
            .withSmallPlan(onePlan.isEmpty());
    RandomWeights weights = new RandomWeights(config);
    long start = System.nanoTime();
    TrtModel model =
        TrtModel.write(
            config,
            weights,
            precision,
            options.packPlans(),
            folder.resolve(name + ".onnx"),
            0,
            bytes -> {});
    EngineBuilder.Built built =
        EngineBuilder.build(
            model, plugins, options, folder.resolve(name + ".plan"), System.out::println);
    System.out.printf(
        Locale.ROOT,
        "%s, buckets %s: made in %.1f s, of which the build %.1f s%n",
        name,
        tokens,
        seconds(start),
        built.buildSeconds());
    boolean passed = true;
    try (TensorRtEngine engine =
        TensorRtEngine.open(built.plan(), config, plugins, TensorRtEngine.Options.DEFAULT)) {
      List<VerificationPack> packs =
          List.of(VerificationPack.of(config).get(0), VerificationPack.mixed(config));
      start = System.nanoTime();
      List<Verification> rows = EngineVerifier.againstTrainer(engine, weights, packs, precision);
      for (Verification row : rows) {
        System.out.println("  " + row + (row.passed() ? "" : "  ABOVE"));
        passed &= row.passed();
      }
      if (rows.isEmpty()) {
        System.out.println("  no trainer on the class path: nothing to compare with");
        passed = false;
      } else {
        passed &= profiles(engine, weights, packs.get(0).inputs(), precision);
      }
      System.out.printf(Locale.ROOT, "  compared in %.1f s%n", seconds(start));
    }
    return passed;
  }

  private static boolean profiles(
      TensorRtEngine engine, RandomWeights weights, ForwardInputs small, DType precision)
      throws Exception {
    float[] x = new float[small.x().remaining()];
    small.x().duplicate().get(x);
    float[] expected;
    try (ForwardOracle.Forward trainer =
        ForwardOracle.find(reason -> {}).orElseThrow().open(engine.config(), weights)) {
      expected = trainer.velocities(small.layout(), x, small.t(), small.y(), DType.F32);
    }
    boolean passed = true;
    for (ProfileCheck.Result row : ProfileCheck.run(engine, small, expected)) {
      boolean within = row.parity().relative() <= row.most(ProfileCheck.bound(precision));
      System.out.printf(
          Locale.ROOT,
          "  profile of %d tokens: %s, against %s: relative error %.2e, largest difference %.2e%s%n",
          row.tokens(),
          row.pack(),
          row.against(),
          row.parity().relative(),
          row.parity().maxAbs(),
          within ? "" : "  ABOVE");
      passed &= within;
    }
    return passed;
  }

  private static double seconds(long since) {
    return (System.nanoTime() - since) / 1e9;
  }
}
