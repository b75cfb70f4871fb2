package io.nit.tests.bench;

import static io.nit.tests.bench.Arguments.argument;

import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.packing.PackLayout;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.PlanLayers;
import io.nit.core.trt.TensorRt;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.EngineBuilder;
import io.nit.exporter.trt.SmallPackKernels;
import io.nit.exporter.trt.TrtModel;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.trt.TensorRtEngine;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * An engine of a preset with random weights: how long it takes to build and to open, what memory it
 * takes, and a packed forward of each of the packs of {@code RESULTS.md}. Milliseconds are medians,
 * on the device and with the copies from and to the host; "first" is a size that the engine has not
 * just run, "new t" has times that it has not seen, whose modulations it computes. Every result is
 * checked to be finite and to have the same bits in every round.
 *
 * <p>Arguments: preset (xl), precision (bf16), folder for the files (engine-bench), buckets
 * (128,512,1024,2048,4096,8192,16384), rounds (20), optimization level (3), mixes (200; 0 for
 * none): so many packs at random, see {@link EngineMixes}; small-pack kernels (auto, or off). Where
 * small packs have a plan of their own, they are measured in the main plan too.
 */
public final class EngineBenchmark {
  /** Of forwards before a pack is measured: a GPU that was idle is slower for a while. */
  private static final long WARM_UP_NANOS = 300_000_000L;

  /** Longer than a size takes to be recorded beside its forwards. */
  private static final long RECORDING_NANOS = 2_000_000_000L;

  private EngineBenchmark() {}

  /** Builds, opens and measures. */
  public static void main(String[] args) throws Exception {
    NitConfig config = NitConfig.preset(argument(args, 0, "xl"));
    DType precision = DType.valueOf(argument(args, 1, "bf16").toUpperCase(Locale.ROOT));
    Path folder = Path.of(argument(args, 2, "engine-bench"));
    List<Integer> buckets =
        Arrays.stream(argument(args, 3, "128,512,1024,2048,4096,8192,16384").split(","))
            .map(Integer::parseInt)
            .toList();
    int rounds = Integer.parseInt(argument(args, 4, "20"));
    int level = Integer.parseInt(argument(args, 5, "3"));
    int mixes = Integer.parseInt(argument(args, 6, "200"));
    Optional<String> refusal = TensorRt.refusal(0);
    if (refusal.isPresent()) {
      System.err.println("EngineBenchmark: " + refusal.get());
      System.exit(1);
    }
    Gpu gpu = Gpu.open(0);
    System.out.println(gpu);
    PluginLibrary plugins = PluginLibrary.find();
    System.out.println(plugins);

    Optional<String> onePlan =
        SmallPackKernels.parse(argument(args, 7, "auto")) == SmallPackKernels.OFF
            ? Optional.of("off")
            : SmallPackKernels.refusal(config, precision, Traits.NONE, buckets)
                .or(() -> SmallPackKernels.refusalOn(gpu.computeCapability(), plugins));
    System.out.println("small-pack kernels: " + onePlan.orElse("on"));
    BuildOptions options =
        new BuildOptions(
                0,
                buckets,
                BuildOptions.MAX_IMAGES,
                BuildOptions.WORKSPACE,
                level,
                Optional.of(folder.resolve("timings")))
            .withSmallPlan(onePlan.isEmpty());

    long start = System.nanoTime();
    TrtModel model =
        TrtModel.write(
            config,
            new RandomWeights(config),
            precision,
            options.packPlans(),
            folder.resolve("model.onnx"),
            0,
            bytes -> {});
    System.out.printf(Locale.ROOT, "model written in %.1f s%n", seconds(start));
    EngineBuilder.Built built =
        EngineBuilder.build(
            model,
            Optional.of(plugins),
            options,
            folder.resolve("engine.plan"),
            System.out::println);
    for (int i = 0; i < built.layers().size(); i++) {
      PlanLayers layers = built.layers().get(i);
      Files.writeString(folder.resolve("layers-" + (i + 1) + ".json"), layers.json());
      System.out.printf(
          "plan %d: %d layers, plugins %s%n", i + 1, layers.layers(), layers.plugins());
    }
    System.out.printf(
        Locale.ROOT,
        "built in %.1f s, %d MiB, opened in %.2f s%n",
        built.buildSeconds(),
        built.bytes() >> 20,
        built.openSeconds());

    long freeBefore = Cuda.freeBytes();
    start = System.nanoTime();
    try (TensorRtEngine engine =
        TensorRtEngine.open(
            built.plan(), config, Optional.of(plugins), TensorRtEngine.Options.DEFAULT)) {
      System.out.printf(
          Locale.ROOT,
          "opened in %.2f s; %d MiB of device memory, %d MiB of them activations%n",
          seconds(start),
          freeBefore - Cuda.freeBytes() >> 20,
          engine.activationBytes() >> 20);
      System.out.printf(
          "%-14s %6s %6s %9s %9s %9s %11s %9s%n",
          "pack",
          "images",
          "tokens",
          "first ms",
          "device ms",
          "best ms",
          "with copies",
          "new t ms");
      start = System.nanoTime();
      int sizes = engine.warmUp();
      System.out.printf(Locale.ROOT, "%d sizes recorded in %.2f s%n", sizes, seconds(start));
      for (Map.Entry<String, PackLayout> pack : packs().entrySet()) {
        if (pack.getValue().tokens() <= engine.maxTokens()) {
          row(engine, engine, pack.getKey(), pack.getValue(), rounds);
        }
      }
      if (mixes > 0) {
        EngineMixes.run(engine, built.plan(), buckets, mixes);
      }
      if (engine.variants().size() > 1) {
        compare(engine, rounds);
      }
      System.out.printf(
          Locale.ROOT, "%d MiB of device memory in the end%n", freeBefore - Cuda.freeBytes() >> 20);
    }
  }

  private static double seconds(long since) {
    return (System.nanoTime() - since) / 1e9;
  }

  /** Two small ones, a mixture of 96 images, and full packs of images of one size. */
  private static Map<String, PackLayout> packs() {
    Map<String, PackLayout> packs = new LinkedHashMap<>();
    packs.put("2 x 8x8", pack(2, 8, 8));
    packs.put("2 x 16x16", pack(2, 16, 16));
    packs.put("4 x 16x16", pack(4, 16, 16));
    packs.put("8 x 16x16", pack(8, 16, 16));
    packs.put("mixed", pack(64, 8, 8, 16, 16, 16, 4, 32, 32, 6, 24, 14, 6, 10, 30));
    packs.put("256 x 8x8", pack(256, 8, 8));
    packs.put("64 x 16x16", pack(64, 16, 16));
    packs.put("16 x 32x32", pack(16, 32, 32));
    packs.put("4 x 64x64", pack(4, 64, 64));
    return packs;
  }

  /** Images from triples of count, height and width. */
  private static PackLayout pack(int... triples) {
    int[] h = new int[0];
    int[] w = new int[0];
    for (int i = 0; i < triples.length; i += 3) {
      int from = h.length;
      h = Arrays.copyOf(h, from + triples[i]);
      w = Arrays.copyOf(w, from + triples[i]);
      Arrays.fill(h, from, h.length, triples[i + 1]);
      Arrays.fill(w, from, w.length, triples[i + 2]);
    }
    return PackLayout.of(h, w);
  }

  /** Small packs in each plan, recorded as graphs in both. */
  private static void compare(TensorRtEngine engine, int rounds) throws Exception {
    for (Map.Entry<String, PackLayout> pack : packs().entrySet()) {
      for (VelocityEngine variant : engine.variants()) {
        if (pack.getValue().tokens() > PackPlan.SMALL_TOKENS) {
          continue;
        }
        ForwardInputs in = VerificationPack.of(engine.config(), pack.getValue()).inputs();
        FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
        long end = System.nanoTime() + RECORDING_NANOS;
        while (System.nanoTime() < end) {
          variant.forward(in, v.clear());
        }
        row(engine, variant, pack.getKey() + ", " + variant.description(), pack.getValue(), rounds);
      }
    }
  }

  /**
   * Measures a pack.
   *
   * @param runs the engine, or one of its plans
   */
  private static void row(
      TensorRtEngine engine, VelocityEngine runs, String name, PackLayout layout, int rounds)
      throws Exception {
    ForwardInputs in = VerificationPack.of(engine.config(), layout).inputs();
    FloatBuffer v =
        ByteBuffer.allocateDirect(Float.BYTES * in.x().remaining())
            .order(ByteOrder.nativeOrder())
            .asFloatBuffer();
    runs.forward(in, v.clear());
    float first = engine.deviceMillis();
    float[] expected = new float[v.capacity()];
    v.clear().get(expected);
    for (float value : expected) {
      if (!Float.isFinite(value)) {
        throw new IllegalStateException(name + ": NaN or infinity in the velocities");
      }
    }
    double[] device = new double[rounds];
    double[] whole = new double[rounds];
    long warm = System.nanoTime() + WARM_UP_NANOS;
    while (System.nanoTime() < warm) {
      runs.forward(in, v.clear());
    }
    for (int i = 0; i < rounds; i++) {
      long start = System.nanoTime();
      runs.forward(in, v.clear());
      double millis = (System.nanoTime() - start) / 1e6;
      device[i] = engine.deviceMillis();
      whole[i] = millis;
      if (v.clear().mismatch(FloatBuffer.wrap(expected)) >= 0) {
        throw new IllegalStateException(name + ": other bits in another round");
      }
    }
    double[] unseen = new double[rounds];
    for (int i = 0; i < rounds; i++) {
      float[] t = in.t().clone();
      for (int k = 0; k < t.length; k++) {
        t[k] *= 1 - (i + 1) / 1024f;
      }
      runs.forward(new ForwardInputs(layout, in.x(), t, in.y(), in.rope()), v.clear());
      unseen[i] = engine.deviceMillis();
    }
    Arrays.sort(device);
    Arrays.sort(whole);
    Arrays.sort(unseen);
    System.out.printf(
        Locale.ROOT,
        "%-14s %6d %6d %9.3f %9.3f %9.3f %11.3f %9.3f%n",
        name,
        layout.images(),
        layout.tokens(),
        first,
        device[rounds / 2],
        device[0],
        whole[rounds / 2],
        unseen[rounds / 2]);
  }
}
