package io.nit.tests.endtoend;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.Tiling;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.Engines;
import io.nit.testing.GeneratedDcAe;
import java.nio.file.Path;
import java.util.List;
import java.util.Random;

/**
 * Decodes latents of random sizes, whole, in batches and in tiles, some of them twice as they
 * overflow, encodes others, and prints by how many KiB the later 200 decodes have made native
 * memory larger. Its heap is as {@link MemoryProbe} says.
 */
public final class DecodeProbe {
  private DecodeProbe() {}

  /** Takes the folder of a bundle whose decoder overflows above 65504. */
  public static void main(String[] args) throws Exception {
    Tiling tiling = new Tiling(256, 192, 256 * 256);
    EngineOptions options = new EngineOptions(1, new DecodeOptions(tiling, 4 * 128 * 128));
    Bundle bundle = Bundle.open(Path.of(args[0]));
    try (LatentCodec codec = Engines.openCodec(bundle, "ort-cpu", options).orElseThrow()) {
      Random random = new Random(6);
      decode(codec, 80, random); // buffers reach their size
      long before = MemoryProbe.residentKib();
      decode(codec, 200, random);
      System.out.println(MemoryProbe.residentKib() - before);
    }
  }

  private static void decode(LatentCodec codec, int count, Random random) {
    for (int i = 0; i < count; i++) {
      int h = 1 + random.nextInt(48);
      int w = 1 + random.nextInt(48);
      float[] latent = GeneratedDcAe.latent(8, h, w);
      latent[0] = i % 10 == 0 ? 1e8f : 0;
      codec.decodeBatch(List.of(latent, latent), h, w);
      if (i % 4 == 0) {
        codec.encode(new float[3 * 8 * h * 8 * w], 8 * h, 8 * w);
      }
    }
  }
}
