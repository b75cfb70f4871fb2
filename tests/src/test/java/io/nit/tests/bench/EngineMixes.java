package io.nit.tests.bench;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.trt.Cuda;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.trt.TensorRtEngine;
import io.nit.testing.Memory;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Random;
import java.util.TreeMap;
import java.util.function.ToDoubleFunction;

/**
 * What a server sees: packs at random of 1 to 256 images of 32 to 2048 pixels a side, each of sizes
 * that the engine has not seen, one call each. A bucket's packs differ in work, so that besides its
 * median a call is held against the work that it does and against calls of like work.
 *
 * <p>Work is counted in multiply-adds: {@code 12·D²} a token and block, {@code 2·D·n} for attention
 * of a token to the n tokens of its image, {@code 6·D²} an image and block for modulations.
 */
final class EngineMixes {
  /** Calls of like work are those within this factor. */
  private static final double LIKE = 1.25;

  /** What a call may take over its bucket's median. */
  private static final double BOUND = 1.5;

  private static final int WARM_UP = 4;
  private static final int TIMES = 8;
  private static final int LABELS = 8;
  private static final int MOST_IMAGES = 256;
  private static final int MOST_SIDE = 64; // 2048 pixels of an autoencoder of factor 32

  private EngineMixes() {}

  private record Call(PackLayout layout, double millis, double device, double work) {
    /** Nanoseconds of the device for a million multiply-adds. */
    double rate() {
      return device * 1e12 / work;
    }
  }

  /**
   * Runs the packs and prints the figures.
   *
   * @param plan the engine's file, which must stay as it is
   */
  static void run(TensorRtEngine engine, Path plan, List<Integer> buckets, int count)
      throws Exception {
    Random random = new Random(1);
    int[] ones = new int[Math.min(TIMES * LABELS, engine.maxImages())];
    Arrays.fill(ones, 1);
    call(engine, PackLayout.of(ones, ones)); // all times and labels
    for (int i = 0; i < WARM_UP * buckets.size(); i++) { // code and memory that first calls take
      call(engine, random(random, buckets.get(i % buckets.size())));
    }
    FileTime built = Files.getLastModifiedTime(plan);
    System.gc();
    long device = Cuda.freeBytes();
    long host = Memory.resident();
    Map<Integer, List<Call>> calls = new TreeMap<>();
    for (int i = 0; i < count; i++) {
      PackLayout layout = random(random, engine.maxTokens());
      int bucket = buckets.stream().filter(b -> layout.tokens() <= b).findFirst().orElseThrow();
      calls.computeIfAbsent(bucket, b -> new ArrayList<>()).add(call(engine, layout));
    }
    calls.forEach(EngineMixes::print);
    System.gc();
    System.out.printf(
        Locale.ROOT,
        "%d mixes: %d rebuilds, %d MiB more of device memory, %d MiB more of host memory%n",
        count,
        Files.getLastModifiedTime(plan).equals(built) ? 0 : 1,
        device - Cuda.freeBytes() >> 20,
        Memory.resident() - host >> 20);
  }

  private static Call call(TensorRtEngine engine, PackLayout layout) throws Exception {
    ForwardInputs in = inputs(engine.config(), layout);
    FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
    long start = System.nanoTime();
    engine.forward(in, v);
    double millis = (System.nanoTime() - start) / 1e6;
    for (float value : v.array()) {
      if (!Float.isFinite(value)) {
        throw new IllegalStateException("NaN or infinity in a pack of " + layout);
      }
    }
    return new Call(layout, millis, engine.deviceMillis(), work(engine.config(), layout));
  }

  /** Noise at a few times and labels: a picture's modulations are computed before its steps. */
  private static ForwardInputs inputs(NitConfig config, PackLayout layout) {
    ForwardInputs in = VerificationPack.of(config, layout).inputs();
    float[] t = new float[layout.images()];
    long[] y = new long[layout.images()];
    for (int i = 0; i < t.length; i++) {
      t[i] = (1 + i % TIMES) / (float) TIMES;
      y[i] = i / TIMES % Math.min(LABELS, config.labelRows());
    }
    return new ForwardInputs(layout, in.x(), t, y, in.rope());
  }

  static double work(NitConfig config, PackLayout layout) {
    double hidden = config.hiddenSize();
    double pairs = 0;
    for (int i = 0; i < layout.images(); i++) {
      pairs += (double) layout.tokens(i) * layout.tokens(i);
    }
    return config.depth()
        * (12 * hidden * hidden * layout.tokens()
            + 2 * hidden * pairs
            + 6 * hidden * hidden * layout.images());
  }

  private static void print(int bucket, List<Call> calls) {
    System.out.printf(
        Locale.ROOT,
        "mixes up to %5d tokens: %3d calls of %d to %d images, median %.3f ns a Mega-multiply-add%n",
        bucket,
        calls.size(),
        calls.stream().mapToInt(call -> call.layout.images()).min().orElseThrow(),
        calls.stream().mapToInt(call -> call.layout.images()).max().orElseThrow(),
        median(calls.stream().mapToDouble(Call::rate).toArray()));
    print("on the device", calls, Call::device);
    print("with copies", calls, Call::millis);
  }

  private static void print(String what, List<Call> calls, ToDoubleFunction<Call> time) {
    double median = median(calls.stream().mapToDouble(time).toArray());
    Call slowest = calls.get(0);
    Call unlike = calls.get(0);
    double most = 0;
    int above = 0;
    for (Call call : calls) {
      double taken = time.applyAsDouble(call);
      double against = taken / like(calls, call, time);
      above += taken > BOUND * median ? 1 : 0;
      if (taken > time.applyAsDouble(slowest)) {
        slowest = call;
      }
      if (against > most) {
        most = against;
        unlike = call;
      }
    }
    System.out.printf(
        Locale.ROOT,
        "  %-13s median %.2f ms; slowest %.2f (%.2f x, %d tokens in %d images), %d above %.1f x;"
            + " worst %.2f x calls of like work (%.2f ms, %d tokens in %d images)%n",
        what,
        median,
        time.applyAsDouble(slowest),
        time.applyAsDouble(slowest) / median,
        slowest.layout.tokens(),
        slowest.layout.images(),
        above,
        BOUND,
        most,
        time.applyAsDouble(unlike),
        unlike.layout.tokens(),
        unlike.layout.images());
  }

  /** The median of the bucket's calls of about as much work, itself among them. */
  private static double like(List<Call> calls, Call one, ToDoubleFunction<Call> time) {
    return median(
        calls.stream()
            .filter(call -> call.work <= one.work * LIKE && call.work * LIKE >= one.work)
            .mapToDouble(time)
            .toArray());
  }

  private static double median(double[] values) {
    double[] sorted = values.clone();
    Arrays.sort(sorted);
    return sorted[sorted.length / 2];
  }

  /** A pack of at most so many tokens; small and large images, few and many of them. */
  static PackLayout random(Random random, int maxTokens) {
    int most = 1 + random.nextInt(MOST_IMAGES);
    int budget = (int) (maxTokens * Math.pow(2, -8 * random.nextDouble()));
    int side = (int) Math.round(Math.pow(MOST_SIDE, random.nextDouble()));
    int[] h = new int[most];
    int[] w = new int[most];
    int images = 0;
    int tokens = 0;
    for (int i = 0; i < most; i++) {
      int high = 1 + random.nextInt(side);
      int wide = 1 + random.nextInt(side);
      if (tokens + high * wide <= budget) {
        h[images] = high;
        w[images++] = wide;
        tokens += high * wide;
      }
    }
    return images == 0
        ? PackLayout.of(new int[] {1}, new int[] {1})
        : PackLayout.of(Arrays.copyOf(h, images), Arrays.copyOf(w, images));
  }
}
