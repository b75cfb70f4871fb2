package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.flow.Seeds;
import io.nit.core.flow.Trajectory;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.PipelineStats;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.sample.PackStep;
import io.nit.runtime.sample.PackedSampler;
import io.nit.runtime.sample.RopeChoice;
import io.nit.runtime.sample.SampledImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Random;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** Latents that stay on the device against the same that go over the host, bit for bit. */
@Tag("gpu")
@Timeout(value = 180, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class ResidentSamplingGpuTest {
  private static final NitConfig TINY = PluginEngines.PICTURES;

  private static final int MAX_TOKENS = 4096;

  @TempDir static Path folder;

  private static Path bundle;

  @BeforeAll
  static void anEngine() throws IOException {
    PluginEngines.require(ResidentSamplingGpuTest.class);
    bundle = PluginEngines.served(TINY, MAX_TOKENS, folder.resolve("bundle"));
  }

  private static VelocityEngine engine() throws Exception {
    VelocityEngine engine = Engines.open(Bundle.open(bundle), "tensorrt", EngineOptions.DEFAULT);
    assertTrue(engine.resident().isPresent(), "latents do not stay on the device");
    return engine;
  }

  /** An image that comes before a step, and may leave before it is done. */
  private record Visit(int comes, int leaves, SampledImage image) {}

  private static SampledImage image(
      Random random, SamplerKind kind, int steps, Guidance guidance, int h, int w) {
    int elements = h * w * TINY.tokenSize();
    long seed = random.nextLong();
    return new SampledImage(
        h,
        w,
        random.nextInt(4),
        RopeChoice.MODEL,
        new Trajectory(
            kind, steps, guidance, Seeds.start(seed, elements), Seeds.sde(seed, elements)));
  }

  /** The same visits for the same seed: all samplers, sizes and intervals. */
  private static List<Visit> visits(long seed) {
    Random random = new Random(seed);
    List<Visit> visits = new ArrayList<>();
    for (int i = 0; i < 30; i++) {
      double low = 0.1 * random.nextInt(6);
      Guidance guidance =
          random.nextInt(3) == 0
              ? Guidance.NONE
              : new Guidance(1.2 + 2 * random.nextDouble(), low, low + 0.4);
      int comes = i < 3 ? 0 : random.nextInt(50);
      int leaves = random.nextInt(5) == 0 ? comes + 1 + random.nextInt(6) : Integer.MAX_VALUE;
      visits.add(
          new Visit(
              comes,
              leaves,
              image(
                  random,
                  SamplerKind.values()[i % 3],
                  2 + random.nextInt(20),
                  guidance,
                  1 + random.nextInt(12),
                  1 + random.nextInt(12))));
    }
    return visits;
  }

  /** Runs the visits, with as many steps under way as the sampler takes; [images] latents. */
  private static List<double[]> run(PackedSampler sampler, List<Visit> visits) throws Exception {
    Deque<PackStep> underWay = new ArrayDeque<>();
    for (int step = 0; step < 200; step++) {
      List<SampledImage> pack = new ArrayList<>();
      for (Visit visit : visits) {
        if (visit.comes <= step && step < visit.leaves && !visit.image.trajectory().done()) {
          if (visit.comes == step) {
            sampler.announce(visit.image);
          }
          pack.add(visit.image);
        }
      }
      if (!pack.isEmpty()) {
        underWay.add(sampler.begin(pack));
      }
      while (underWay.size() > (pack.isEmpty() ? 0 : sampler.ahead())) {
        underWay.remove().await();
      }
    }
    List<double[]> latents = new ArrayList<>();
    for (Visit visit : visits) {
      Trajectory trajectory = visit.image.trajectory();
      assertTrue(trajectory.done() || visit.leaves < Integer.MAX_VALUE);
      latents.add(trajectory.done() ? trajectory.x() : null);
    }
    return latents;
  }

  @Test
  void imagesThatComeAndGoHaveTheSameBits() throws Exception {
    try (VelocityEngine engine = engine()) {
      int different = 0;
      int done = 0;
      for (long seed = 1; seed <= 4; seed++) {
        List<double[]> onHost = run(PackedSampler.onHost(engine, Optional.empty()), visits(seed));
        List<double[]> kept = run(new PackedSampler(engine, Optional.empty()), visits(seed));
        for (int i = 0; i < onHost.size(); i++) {
          assertEquals(onHost.get(i) == null, kept.get(i) == null, "image " + i);
          if (onHost.get(i) != null) {
            done++;
            different += Arrays.equals(onHost.get(i), kept.get(i)) ? 0 : 1;
          }
        }
        System.out.printf("  seed %d: %d images done, %d differ%n", seed, done, different);
      }
      assertTrue(done > 60, done + " images");
      assertEquals(0, different);
    }
  }

  @Test
  void picturesOfAPipelineHaveTheSameBitsEitherWay() throws Exception {
    List<float[]> onHost = new ArrayList<>();
    for (boolean host : new boolean[] {true, false}) {
      NitPipeline.Builder builder = NitPipeline.builder(bundle).backend("tensorrt");
      try (NitPipeline pipeline = (host ? builder.latentsOnHost() : builder).open()) {
        PipelineStats before = pipeline.stats();
        long start = System.nanoTime();
        int made = 0;
        for (SamplerKind kind : SamplerKind.values()) {
          for (Guidance guidance : List.of(Guidance.NONE, new Guidance(2.05, 0, 0.7))) {
            for (int round = 0; round < 3; round++) { // so that sizes are replayed as graphs
              ImageRequest request =
                  pipeline
                      .request()
                      .label(1)
                      .size(64, 96)
                      .seed(7)
                      .steps(40)
                      .sampler(kind)
                      .guidance(guidance)
                      .build();
              float[] latent = pipeline.submit(request).get().latent();
              if (host) {
                onHost.add(latent);
              } else {
                assertArrayEquals(onHost.get(made), latent, kind + " " + guidance);
              }
              made++;
            }
          }
        }
        PipelineStats after = pipeline.stats();
        System.out.printf(
            Locale.ROOT,
            "  latents on the %s: %.2f ms a picture of 40 steps; %.2f the model, %.2f Java%n",
            host ? "host" : "device",
            (System.nanoTime() - start) / 1e6 / made,
            (after.modelSeconds() - before.modelSeconds()) * 1e3 / made,
            (after.javaSeconds() - before.javaSeconds()) * 1e3 / made);
      }
    }
  }

  @Test
  void paddingIsWhatSmallPacksAreRoundedUpBy() throws Exception {
    for (boolean host : new boolean[] {true, false}) {
      NitPipeline.Builder builder = NitPipeline.builder(bundle).backend("tensorrt");
      try (NitPipeline pipeline = (host ? builder.latentsOnHost() : builder).open()) {
        ImageRequest.Builder request =
            pipeline.request().label(1).steps(6).guidance(Guidance.NONE).sampler(SamplerKind.EULER);
        pipeline.submit(request.size(64, 96).build()).get(); // 384 tokens: three steps of 128
        assertEquals(0, pipeline.stats().paddedTokens());
        pipeline.submit(request.size(64, 84).build()).get(); // 336
        PipelineStats stats = pipeline.stats();
        System.out.printf(
            Locale.ROOT,
            "  latents on the %s: %d tokens of images, %d of none, %.1f %%%n",
            host ? "host" : "device",
            stats.tokens(),
            stats.paddedTokens(),
            100 * stats.paddedShare());
        assertEquals(6 * (384 + 336), stats.tokens());
        assertEquals(6 * (384 - 336), stats.paddedTokens());
      }
    }
  }

  @Test
  void nanIsFoundInItsOwnImageAlone() throws Exception {
    try (VelocityEngine engine = engine()) {
      PackedSampler sampler = new PackedSampler(engine, Optional.empty());
      Random random = new Random(5);
      SampledImage good = image(random, SamplerKind.EULER, 3, Guidance.NONE, 4, 5);
      double[] start = new double[6 * TINY.tokenSize()];
      start[17] = Double.NaN;
      SampledImage bad =
          new SampledImage(
              2,
              3,
              0,
              RopeChoice.MODEL,
              new Trajectory(SamplerKind.HEUN, 3, Guidance.NONE, start, null));
      SampledImage last = image(random, SamplerKind.SDE, 3, new Guidance(2, 0, 1), 7, 3);
      PackStep step = sampler.begin(List.of(good, bad, last));
      step.await();
      assertTrue(step.finite(0));
      assertFalse(step.finite(1));
      assertTrue(step.finite(2));
      step = sampler.begin(List.of(good, last));
      step.await();
      assertTrue(step.finite(0) && step.finite(1));
    }
  }

  @Test
  void anImageThatLeftAndStepsBeyondThoseUnderWayAreRefused() throws Exception {
    try (VelocityEngine engine = engine()) {
      PackedSampler sampler = new PackedSampler(engine, Optional.empty());
      Random random = new Random(6);
      SampledImage one = image(random, SamplerKind.EULER, 9, Guidance.NONE, 4, 5);
      SampledImage two = image(random, SamplerKind.EULER, 9, Guidance.NONE, 3, 3);
      sampler.advance(List.of(one, two));
      sampler.advance(List.of(two));
      String message =
          assertThrows(IllegalStateException.class, () -> sampler.advance(List.of(one)))
              .getMessage();
      System.out.println("  " + message);
      PackStep first = sampler.begin(List.of(two));
      PackStep second = sampler.begin(List.of(two));
      message =
          assertThrows(IllegalStateException.class, () -> sampler.begin(List.of(two))).getMessage();
      assertTrue(message.contains("at most 2 steps"), message);
      first.await();
      second.await();
      while (!two.trajectory().done()) {
        sampler.advance(List.of(two));
      }
      assertEquals(9 * TINY.tokenSize(), two.trajectory().x().length);
    }
  }

  @Test
  void manyRequestsWithSomeCancelledAreServed() throws Exception {
    try (NitPipeline pipeline = NitPipeline.builder(bundle).backend("tensorrt").open()) {
      List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
      CountDownLatch steps = new CountDownLatch(200);
      for (int i = 0; i < 80; i++) {
        ImageRequest request =
            pipeline
                .request()
                .label(i % 4)
                .size(16 + 16 * (i % 7), 32 + 16 * (i % 5))
                .seed(i)
                .steps(10 + i % 30)
                .sampler(SamplerKind.values()[i % 3])
                .guidance(i % 2 == 0 ? Guidance.NONE : new Guidance(2, 0.1, 0.8))
                .build();
        futures.add(pipeline.submit(request, (r, step, of) -> steps.countDown()));
      }
      assertTrue(steps.await(60, TimeUnit.SECONDS));
      for (int i = 0; i < 80; i += 5) {
        futures.get(i).cancel(true);
      }
      int served = 0;
      for (CompletableFuture<ImageResult> future : futures) {
        if (!future.isCancelled()) {
          future.get();
          served++;
        }
      }
      System.out.println("  " + served + " of 80 served; " + pipeline.stats());
      assertTrue(served >= 64, served + " served");
    }
  }
}
