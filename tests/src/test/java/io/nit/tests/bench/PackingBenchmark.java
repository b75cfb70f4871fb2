package io.nit.tests.bench;

import io.nit.core.packing.Lpfhp;
import java.util.List;
import java.util.Random;
import java.util.concurrent.TimeUnit;
import org.openjdk.jmh.annotations.Benchmark;
import org.openjdk.jmh.annotations.BenchmarkMode;
import org.openjdk.jmh.annotations.Fork;
import org.openjdk.jmh.annotations.Measurement;
import org.openjdk.jmh.annotations.Mode;
import org.openjdk.jmh.annotations.OutputTimeUnit;
import org.openjdk.jmh.annotations.Param;
import org.openjdk.jmh.annotations.Scope;
import org.openjdk.jmh.annotations.Setup;
import org.openjdk.jmh.annotations.State;
import org.openjdk.jmh.annotations.Warmup;

/** Packing the whole of ImageNet: 1.28 million images of photo-like sizes. */
@State(Scope.Benchmark)
@BenchmarkMode(Mode.AverageTime)
@OutputTimeUnit(TimeUnit.MILLISECONDS)
@Fork(1)
@Warmup(iterations = 1, time = 5)
@Measurement(iterations = 3, time = 5)
public class PackingBenchmark {
  /** Images to pack. */
  @Param({"1280000"})
  public int images;

  /** Tokens a pack holds. */
  @Param({"16384"})
  public int maxTokens;

  private int[] tokens;

  /** Draws sizes as ImageNet's: mostly 500x375, some larger, either way up. */
  @Setup
  public void draw() {
    Random random = new Random(1);
    tokens = new int[images];
    for (int i = 0; i < images; i++) {
      double scale = random.nextDouble() < 0.6 ? 1 : Math.exp(0.5 * random.nextGaussian());
      double aspect = random.nextDouble() < 0.5 ? 4.0 / 3 : Math.exp(0.3 * random.nextGaussian());
      int w = (int) Math.min(2048, Math.max(64, 433 * scale * Math.sqrt(aspect)));
      int h = (int) Math.min(2048, Math.max(64, 433 * scale / Math.sqrt(aspect)));
      tokens[i] = w / 32 * (h / 32);
    }
  }

  /** LPFHP; the result is checked, so that what is timed is right. */
  @Benchmark
  public List<int[]> lpfhp() {
    List<int[]> packs = Lpfhp.pack(tokens, maxTokens, 0);
    if (Lpfhp.efficiency(packs, tokens, maxTokens) < 0.99) {
      throw new IllegalStateException("packing left more than 1 % empty");
    }
    return packs;
  }
}
