package io.nit.tests.endtoend;

import io.nit.core.flow.SamplerKind;
import io.nit.runtime.CancellationToken;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.ProgressListener;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;

/**
 * Samples pictures of random sizes and prints how much native memory and heap the later 200 of them
 * have added, in KiB. Runs in a process whose heap is of a fixed size and touched at the start, so
 * that all that its resident memory grows by is native.
 */
public final class MemoryProbe {
  private MemoryProbe() {}

  /** Takes the bundle's folder. */
  public static void main(String[] args) throws Exception {
    try (NitPipeline pipeline =
        NitPipeline.builder(Path.of(args[0])).threads(1).maxTokens(1024).open()) {
      Random random = new Random(5);
      sample(pipeline, 80, random); // buffers and arenas reach their size, hot code is compiled
      long native0 = residentKib();
      long heap0 = heapKib();
      for (int round = 0; round < 4; round++) {
        sample(pipeline, 50, random);
      }
      System.out.println((residentKib() - native0) + " " + (heapKib() - heap0));
    }
  }

  private static void sample(NitPipeline pipeline, int count, Random random) throws Exception {
    List<ImageRequest> batch = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      batch.add(
          pipeline
              .request()
              .label(random.nextInt(4))
              .size(4 * (1 + random.nextInt(16)), 4 * (1 + random.nextInt(16)))
              .seed(i)
              .steps(3 + random.nextInt(4))
              .sampler(SamplerKind.values()[random.nextInt(3)])
              .build());
    }
    pipeline.generate(batch, ProgressListener.NONE, new CancellationToken());
  }

  /** Resident memory that no file is behind. */
  static long residentKib() throws IOException {
    for (String line : Files.readAllLines(Path.of("/proc/self/status"))) {
      if (line.startsWith("RssAnon:")) {
        return Long.parseLong(line.replaceAll("\\D", ""));
      }
    }
    throw new IOException("/proc/self/status has no RssAnon");
  }

  private static long heapKib() throws InterruptedException {
    long least = Long.MAX_VALUE;
    for (int i = 0; i < 5; i++) {
      System.gc();
      Thread.sleep(20);
      long used = Runtime.getRuntime().totalMemory() - Runtime.getRuntime().freeMemory();
      least = Math.min(least, used >> 10);
    }
    return least;
  }
}
