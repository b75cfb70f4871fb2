package io.nit.tests.bench;

import static io.nit.tests.bench.Arguments.argument;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EnginePart;
import io.nit.core.cli.Cli;
import io.nit.core.codec.DecodedImage;
import io.nit.core.codec.LatentCodec;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.image.RgbImage;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.TensorRt;
import io.nit.core.trt.TensorRtPlan;
import io.nit.exporter.cli.Export;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.PipelineStats;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.trt.TensorRtAutoencoder;
import io.nit.testing.GeneratedDcAe;
import io.nit.tests.engines.LearnedBundles;
import java.lang.management.GarbageCollectorMXBean;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.CompletableFuture;

/**
 * One picture from request to RGB bytes on warm engines: ODE steps of a model of random weights,
 * guided on [0, 0.7], and the decode by a DC-AE of generated weights. The bundle and its engines
 * are made in the folder given, or taken from there if they fit. Every picture is checked to have
 * the same bytes in every round.
 *
 * <p>On TensorRT once with latents that stay on the device and once with latents that go over the
 * host, which must give the same bytes.
 *
 * <p>Beside the rows of a whole picture stand its parts, by the pipeline's own clock and by when
 * the listener hears of steps, which is when the host has learnt that they are over: from the
 * request to the first step, the first step, the others by whether they are guided, the first one
 * after that changes, and from the last one to the bytes in the caller's thread.
 *
 * <p>Then as many pictures again, asked for all at once while each is sampled alone: the time of
 * one, where decoding runs beside the next one's sampling. At the end the first pictures of a
 * pipeline that was warmed up.
 *
 * <p>Arguments: folder (picture-bench), preset (xl), autoencoder (f32c32-sana-1.1), size (512),
 * steps (50), rounds (20), backend (tensorrt), optimization level (3).
 */
public final class PictureBenchmark {
  private static final int WARM_UP = 5;

  private PictureBenchmark() {}

  /** Makes what is missing and measures. */
  public static void main(String[] args) throws Exception {
    Path folder = Path.of(argument(args, 0, "picture-bench"));
    NitConfig model = NitConfig.preset(argument(args, 1, "xl"));
    DcAeConfig autoencoder = DcAeConfig.preset(argument(args, 2, "f32c32-sana-1.1"));
    int size = Integer.parseInt(argument(args, 3, "512"));
    int steps = Integer.parseInt(argument(args, 4, "50"));
    int rounds = Integer.parseInt(argument(args, 5, "20"));
    String backend = argument(args, 6, "tensorrt");
    int cells = size / autoencoder.factor();
    int tokens = cells * cells;

    if (!Files.exists(folder.resolve(Bundle.MANIFEST))) {
      long start = System.nanoTime();
      LearnedBundles.write(
          folder,
          model,
          new RandomWeights(model),
          autoencoder,
          new GeneratedDcAe(autoencoder),
          DType.BF16,
          2 * tokens,
          false);
      System.out.printf(Locale.ROOT, "bundle made in %.1f s%n", seconds(start));
    }
    boolean tensorrt = backend.equals("tensorrt");
    if (tensorrt) {
      Optional<String> refusal = TensorRt.refusal(0);
      if (refusal.isPresent()) {
        System.err.println("PictureBenchmark: " + refusal.get());
        System.exit(1);
      }
      System.out.println(Gpu.open(0));
      String level = argument(args, 7, "3");
      // The plain Java forward of a large model would take minutes.
      build(
          folder, level, "--parts", "model", "--buckets", tokens + "," + 2 * tokens, "--no-verify");
      build(folder, level, "--parts", "decoder", "--autoencoder-sizes", Integer.toString(size));
      writeLayers(folder);
    }

    byte[] rgb = null;
    for (boolean onHost : tensorrt ? new boolean[] {false, true} : new boolean[] {true}) {
      System.out.println("latents between steps: on the " + (onHost ? "host" : "device"));
      NitPipeline.Builder builder = NitPipeline.builder(folder).backend(backend);
      long start = System.nanoTime();
      try (NitPipeline pipeline = (onHost ? builder.latentsOnHost() : builder).open()) {
        System.out.printf(Locale.ROOT, "pipeline opened in %.2f s%n", seconds(start));
        ImageRequest request = request(pipeline, size, steps, 207, 1);
        byte[] found = oneByOne(pipeline, request, rounds);
        if (rgb != null && !Arrays.equals(rgb, found)) {
          throw new IllegalStateException("another picture with latents that go over the host");
        }
        rgb = found;
        others(pipeline, size, steps, rounds);
        together(pipeline, request, rounds);
      }
    }
    decodes(Bundle.open(folder), backend, cells, rounds);
    warmedUp(folder, backend, size, steps, rgb);
  }

  private static ImageRequest request(
      NitPipeline pipeline, int size, int steps, int label, int seed) {
    return pipeline
        .request()
        .label(label)
        .size(size, size)
        .seed(seed)
        .steps(steps)
        .guidanceScale(2.05)
        .guidanceInterval(0, 0.7)
        .build();
  }

  private static double seconds(long since) {
    return (System.nanoTime() - since) / 1e9;
  }

  private static void build(Path folder, String level, String... more) {
    List<String> words = new ArrayList<>(List.of("engine", folder.toString()));
    words.addAll(List.of("--rebuild-on-mismatch", "--optimization-level", level));
    words.addAll(List.of(more));
    long start = System.nanoTime();
    int code = Cli.run(new Export(), words.toArray(String[]::new));
    if (code != 0) {
      throw new IllegalStateException("nit-export " + String.join(" ", words) + ": exit " + code);
    }
    System.out.printf(Locale.ROOT, "nit-export engine: %.1f s%n", seconds(start));
  }

  /** What the decoder is made of, for whoever looks for time in it. */
  private static void writeLayers(Path folder) throws Exception {
    Path plan = EngineManifest.plansIn(folder, EnginePart.DECODER).get(0);
    try (TensorRtPlan opened = TensorRtPlan.open(plan, Optional.empty(), 0)) {
      Files.writeString(folder.resolve("decoder-layers.json"), opened.layers().json());
      System.out.printf(
          Locale.ROOT,
          "decoder: %d layers, activations take %d MiB%n",
          opened.layers().layers(),
          opened.engine().getDeviceMemorySizeForProfileV2(0) >> 20);
    }
    System.out.println("decoder against ONNX Runtime: " + EngineManifest.read(plan).verification());
  }

  private static byte[] oneByOne(NitPipeline pipeline, ImageRequest request, int rounds)
      throws Exception {
    double[] total = new double[rounds];
    double[] sampling = new double[rounds];
    double[] decoding = new double[rounds];
    Parts parts = new Parts(request, rounds);
    byte[] expected = null;
    PipelineStats before = pipeline.stats();
    long collected = collectorMillis();
    for (int i = -WARM_UP; i < rounds; i++) {
      if (i == 0) {
        before = pipeline.stats();
        collected = collectorMillis();
      }
      long[] told = new long[request.steps()];
      long start = System.nanoTime();
      ImageResult result =
          pipeline.submit(request, (r, step, of) -> told[step - 1] = System.nanoTime()).get();
      double time = seconds(start) * 1e3;
      byte[] rgb = result.image().orElseThrow().rgb();
      if (expected != null && !Arrays.equals(expected, rgb)) {
        throw new IllegalStateException("another picture in round " + i);
      }
      expected = rgb;
      if (i >= 0) {
        total[i] = time;
        sampling[i] = result.samplingSeconds() * 1e3;
        decoding[i] = result.decodingSeconds() * 1e3;
        parts.add(i, start, told, time, result);
      }
    }
    PipelineStats after = pipeline.stats();
    System.out.printf(
        "%-34s %10s %10s%n",
        "one picture " + request.width() + "x" + request.height(), "median ms", "best ms");
    row("total", total);
    row("sampling, " + request.steps() + " steps", sampling);
    row("decode, to bytes", decoding);
    System.out.printf(
        Locale.ROOT,
        "of sampling: %.2f ms the model, %.2f ms our own Java, a picture%n",
        (after.modelSeconds() - before.modelSeconds()) / rounds * 1e3,
        (after.javaSeconds() - before.javaSeconds()) / rounds * 1e3);
    parts.print();
    System.out.printf("collections of garbage meanwhile: %d ms%n", collectorMillis() - collected);
    return expected;
  }

  private static long collectorMillis() {
    return ManagementFactory.getGarbageCollectorMXBeans().stream()
        .mapToLong(GarbageCollectorMXBean::getCollectionTime)
        .sum();
  }

  /** Where the time of a picture goes, in ms. */
  private static final class Parts {
    private final boolean[] guided;
    private final double[] taken;
    private final double[] begun;
    private final double[] first;
    private final double[] change;
    private final double[] handed;
    private final double[] back;
    private final List<Double> one = new ArrayList<>();
    private final List<Double> two = new ArrayList<>();

    Parts(ImageRequest request, int rounds) {
      double[] times = request.sampler().times(request.steps());
      guided = new boolean[request.steps()];
      for (int i = 0; i < guided.length; i++) {
        guided[i] = request.guidance().at(times[i]);
      }
      taken = new double[rounds];
      begun = new double[rounds];
      first = new double[rounds];
      change = new double[rounds];
      handed = new double[rounds];
      back = new double[rounds];
    }

    void add(int round, long start, long[] told, double total, ImageResult result) {
      double waiting = result.waitingSeconds() * 1e3;
      double beginning = result.beginningSeconds() * 1e3;
      double untilDecode = waiting + (result.samplingSeconds() + result.handingSeconds()) * 1e3;
      taken[round] = waiting;
      begun[round] = beginning;
      first[round] = (told[0] - start) / 1e6 - waiting - beginning;
      for (int i = 1; i < told.length; i++) {
        double step = (told[i] - told[i - 1]) / 1e6;
        if (guided[i] != guided[i - 1]) {
          change[round] = step;
        } else {
          (guided[i] ? two : one).add(step);
        }
      }
      handed[round] = untilDecode - (told[told.length - 1] - start) / 1e6;
      back[round] = total - untilDecode - result.decodingSeconds() * 1e3;
    }

    void print() {
      row("  request taken up", taken);
      row("  then the first step begun", begun);
      row("  then the first step over", first);
      steps("  a further step, not guided", one);
      row("  the step where that changes", change);
      steps("  a further step, guided", two);
      row("  last step over to decode begun", handed);
      row("  bytes to the caller's thread", back);
    }

    private void steps(String name, List<Double> millis) {
      if (!millis.isEmpty()) {
        double[] sorted = millis.stream().mapToDouble(Double::doubleValue).sorted().toArray();
        System.out.printf(
            Locale.ROOT,
            "%-34s %10.3f %10.3f, 95 of 100 within %.3f, worst %.3f, %d a picture%n",
            name,
            sorted[sorted.length / 2],
            sorted[0],
            sorted[sorted.length * 95 / 100],
            sorted[sorted.length - 1],
            sorted.length / taken.length);
      }
    }
  }

  private static void row(String name, double[] millis) {
    double[] sorted = millis.clone();
    Arrays.sort(sorted);
    System.out.printf(
        Locale.ROOT, "%-34s %10.2f %10.2f%n", name, sorted[sorted.length / 2], sorted[0]);
  }

  /** Labels that come for the first time: what depends on a label and times is computed anew. */
  private static void others(NitPipeline pipeline, int size, int steps, int rounds)
      throws Exception {
    double[] total = new double[rounds];
    double[] begun = new double[rounds];
    for (int i = 0; i < rounds; i++) {
      int label = (i * 37 + 1) % pipeline.config().numClasses();
      ImageRequest request = request(pipeline, size, steps, label, i);
      long start = System.nanoTime();
      ImageResult result = pipeline.submit(request).get();
      total[i] = seconds(start) * 1e3;
      begun[i] = result.beginningSeconds() * 1e3;
    }
    row("total, another label each time", total);
    row("  of which until a step was begun", begun);
  }

  private static void together(NitPipeline pipeline, ImageRequest request, int rounds)
      throws Exception {
    long start = System.nanoTime();
    List<CompletableFuture<ImageResult>> all = new ArrayList<>();
    for (int i = 0; i < rounds; i++) {
      all.add(pipeline.submit(request));
    }
    double sampling = 0;
    double decoding = 0;
    for (CompletableFuture<ImageResult> one : all) {
      sampling += one.get().samplingSeconds();
      decoding += one.get().decodingSeconds();
    }
    double each = seconds(start) / rounds;
    System.out.printf(
        Locale.ROOT,
        "%d asked for at once: %.2f ms each; sampling %.2f and decode %.2f, of which %.2f hidden"
            + " behind sampling%n",
        rounds,
        each * 1e3,
        sampling / rounds * 1e3,
        decoding / rounds * 1e3,
        (sampling + decoding) / rounds * 1e3 - each * 1e3);
  }

  /** The decode by itself: on the device, with copies and checks, and the bytes after it. */
  private static void decodes(Bundle bundle, String backend, int cells, int rounds)
      throws Exception {
    double[] device = new double[rounds];
    double[] whole = new double[rounds];
    double[] bytes = new double[rounds];
    double[] toBytes = new double[rounds];
    try (LatentCodec codec =
        Engines.openCodec(bundle, backend, EngineOptions.DEFAULT).orElseThrow()) {
      float[] latent = GeneratedDcAe.latent(codec.channels(), cells, cells);
      for (int i = -WARM_UP; i < rounds; i++) {
        long start = System.nanoTime();
        float[] rgb = codec.decode(latent, cells, cells);
        long decoded = System.nanoTime();
        RgbImage image = RgbImage.ofPlanes(rgb, cells * codec.factor(), cells * codec.factor());
        long converted = System.nanoTime();
        DecodedImage direct = codec.decodeImages(List.of(latent), cells, cells).get(0);
        double directly = seconds(converted) * 1e3;
        if (!Arrays.equals(image.rgb(), direct.image().rgb())) {
          throw new IllegalStateException("other bytes where they are made at once");
        }
        if (i >= 0) {
          device[i] =
              codec instanceof TensorRtAutoencoder engine ? engine.decodeMillis() : Double.NaN;
          whole[i] = (decoded - start) / 1e6;
          bytes[i] = (converted - decoded) / 1e6;
          toBytes[i] = directly;
        }
      }
    }
    row("decode alone, on the device", device);
    row("decode alone, with copies", whole);
    row("planes to bytes", bytes);
    row("decode alone, bytes at once", toBytes);
  }

  /** The first pictures after {@link NitPipeline.Builder#warmUp}. */
  private static void warmedUp(Path folder, String backend, int size, int steps, byte[] expected)
      throws Exception {
    long start = System.nanoTime();
    try (NitPipeline pipeline =
        NitPipeline.builder(folder).backend(backend).warmUp(size, size).open()) {
      System.out.printf(Locale.ROOT, "pipeline opened and warmed up in %.2f s%n", seconds(start));
      ImageRequest request = request(pipeline, size, steps, 207, 1);
      for (int i = 1; i <= WARM_UP; i++) {
        long submitted = System.nanoTime();
        ImageResult result = pipeline.submit(request).get();
        System.out.printf(
            Locale.ROOT,
            "picture %d: %.2f ms, sampling %.2f, decode %.2f%n",
            i,
            seconds(submitted) * 1e3,
            result.samplingSeconds() * 1e3,
            result.decodingSeconds() * 1e3);
        if (!Arrays.equals(expected, result.image().orElseThrow().rgb())) {
          throw new IllegalStateException("another picture after the warm-up");
        }
      }
    }
  }
}
