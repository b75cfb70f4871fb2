package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Parity;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.Gpu;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.SamplingException;
import io.nit.runtime.cli.Run;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ProfileCheck;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.testing.CapturedRun;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.concurrent.atomic.AtomicReference;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

/** What a pipeline on TensorRT does when memory is gone, and when it is stopped in mid-work. */
@Tag("gpu")
@Timeout(value = 180, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class TensorRtFaultsGpuTest {
  private static final NitConfig TINY = PluginEngines.PICTURES;

  /** Activations of so many tokens are hundreds of times what a small model's weights take. */
  private static final int MAX_TOKENS = 16_384;

  private static final int LONG = 3_000;
  private static final long MIB = 1L << 20;

  @TempDir static Path folder;

  private static Path bundle;

  @BeforeAll
  static void anEngine() throws IOException {
    PluginEngines.require(TensorRtFaultsGpuTest.class);
    bundle = PluginEngines.served(TINY, MAX_TOKENS, folder.resolve("bundle"));
  }

  private static NitPipeline open() throws IOException, EngineException {
    return NitPipeline.builder(bundle).backend("tensorrt").open();
  }

  private static ImageRequest request(NitPipeline pipeline, int side, int seed, int steps) {
    return pipeline.request().label(0).size(side, side).seed(seed).steps(steps).build();
  }

  @Test
  void openingWithoutMemoryFailsWithItsBytesAndWorksOnceThereIsSome() throws Exception {
    open().close(); // what the first opening of a process takes for good is taken
    long before = Cuda.freeBytes();
    for (long leave : new long[] {0, 32 * MIB, 128 * MIB}) {
      try (Hoard hoard = new Hoard(leave)) {
        EngineException failure = null;
        try (NitPipeline pipeline = open()) {
          System.out.println("  opened within " + leave / MIB + " MiB");
        } catch (EngineException e) {
          failure = e;
        }
        if (failure != null) {
          System.out.println("  " + failure.getMessage());
          assertTrue(failure.getMessage().contains(" MiB"), failure.getMessage());
        } else {
          assertTrue(leave > 0, "opened without memory");
        }
      }
    }
    System.out.printf("  %d MiB not given back%n", (before - Cuda.freeBytes()) / MIB);
    assertTrue(before - Cuda.freeBytes() < 64 * MIB, "a refused opening keeps device memory");
    try (NitPipeline pipeline = open()) {
      pipeline.submit(request(pipeline, 64, 1, 2)).get();
    }
  }

  /** An engine takes all its memory when it is opened; a decoder's are in DcAeTensorRtGpuTest. */
  @Test
  void withoutMemoryInMidRunKnownSizesRunOnAndNewOnesGiveTheirPictureOrAMessage() throws Exception {
    int[] known = {64, 96};
    int[] fresh = {32, 128, 256, 320}; // other kernels, and shapes that are recorded as graphs
    try (NitPipeline pipeline = open()) {
      Map<Integer, float[]> expected = new LinkedHashMap<>();
      for (int round = 0; round < 3; round++) { // the second and third record a size
        for (int side : known) {
          expected.put(side, pipeline.submit(request(pipeline, side, 2, 6)).get().latent());
        }
      }
      Map<Integer, float[]> made = new LinkedHashMap<>();
      try (Hoard hoard = new Hoard(0)) {
        for (int side : known) {
          float[] latent = pipeline.submit(request(pipeline, side, 2, 6)).get().latent();
          assertArrayEquals(expected.get(side), latent, side + " without memory");
        }
        for (int side : fresh) {
          try {
            made.put(side, pipeline.submit(request(pipeline, side, 2, 6)).get().latent());
          } catch (ExecutionException e) {
            assertInstanceOf(SamplingException.class, e.getCause());
            System.out.println("  " + e.getCause().getMessage());
            assertTrue(e.getCause().getMessage().contains(" MiB"), e.getCause().getMessage());
          }
        }
      }
      System.out.println("  without memory new sizes ran: " + made.keySet());
      for (int side : known) {
        float[] latent = pipeline.submit(request(pipeline, side, 2, 6)).get().latent();
        assertArrayEquals(expected.get(side), latent, side + " with memory again");
      }
      for (int side : fresh) {
        float[] latent = pipeline.submit(request(pipeline, side, 2, 6)).get().latent();
        if (made.containsKey(side)) {
          assertArrayEquals(latent, made.get(side), side + " without memory");
        }
      }
    }
  }

  @Test
  void aCancelledRequestLeavesThePackAndTheOthersGoOn() throws Exception {
    try (NitPipeline pipeline = open()) {
      ImageRequest kept = request(pipeline, 128, 3, 100);
      float[] alone = pipeline.submit(kept).get().latent();
      CountDownLatch under = new CountDownLatch(1);
      CompletableFuture<ImageResult> endless =
          pipeline.submit(request(pipeline, 96, 4, LONG), (r, step, of) -> under.countDown());
      assertTrue(under.await(60, TimeUnit.SECONDS));
      CountDownLatch together = new CountDownLatch(5); // steps in one pack
      CompletableFuture<ImageResult> other =
          pipeline.submit(kept, (r, step, of) -> together.countDown());
      assertTrue(together.await(60, TimeUnit.SECONDS));
      assertTrue(endless.cancel(true));
      float[] among = other.get().latent();
      double error = Parity.of(among, alone).relative();
      System.out.println("  relative difference to the same request alone: " + error);
      // The same profile both times, but products of other sizes add up in another order.
      assertTrue(error < ProfileCheck.bound(DType.BF16), "relative difference " + error);
      assertThrows(CancellationException.class, endless::get);
      assertArrayEquals(alone, pipeline.submit(kept).get().latent(), "alone again");
    }
  }

  @Test
  void closingFromAnotherThreadEndsWhatRunsAndGivesTheMemoryBack() throws Exception {
    open().close();
    long before = Cuda.freeBytes();
    for (int round = 0; round < 3; round++) {
      NitPipeline pipeline = open();
      CountDownLatch under = new CountDownLatch(1);
      List<CompletableFuture<ImageResult>> all = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        all.add(
            pipeline.submit(
                request(pipeline, 64 + 32 * i, i, LONG), (r, step, of) -> under.countDown()));
      }
      assertTrue(under.await(60, TimeUnit.SECONDS));
      long start = System.nanoTime();
      Thread closer = new Thread(pipeline::close, "closer");
      closer.start();
      pipeline.close(); // at the same time
      closer.join();
      System.out.printf("  closed in %.0f ms%n", (System.nanoTime() - start) / 1e6);
      for (CompletableFuture<ImageResult> one : all) {
        assertTrue(one.isDone());
        assertThrows(CancellationException.class, one::get);
      }
      assertThrows(IllegalStateException.class, () -> pipeline.submit(request(pipeline, 64, 1, 1)));
    }
    System.out.printf("  %d MiB not given back%n", (before - Cuda.freeBytes()) / MIB);
    assertTrue(before - Cuda.freeBytes() < 64 * MIB, "a closed pipeline keeps device memory");
  }

  @Test
  void anEngineThatIsClosedInMidForwardFinishesItAndRefusesTheNext() throws Exception {
    VelocityEngine engine = Engines.open(Bundle.open(bundle), "tensorrt", EngineOptions.DEFAULT);
    ForwardInputs in =
        VerificationPack.of(TINY, PackLayout.of(new int[] {16, 20}, new int[] {16, 20})).inputs();
    AtomicInteger done = new AtomicInteger();
    AtomicReference<Throwable> end = new AtomicReference<>();
    Thread worker =
        new Thread(
            () -> {
              FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
              try {
                while (true) {
                  engine.forward(in, v.clear());
                  done.incrementAndGet();
                }
              } catch (EngineException | RuntimeException e) {
                end.set(e);
              }
            });
    worker.start();
    while (done.get() < 10) {
      Thread.sleep(1);
    }
    engine.close();
    engine.close();
    worker.join();
    System.out.println("  " + done + " forwards, then: " + end.get());
    assertInstanceOf(IllegalStateException.class, end.get());
  }

  @Test
  void twoPipelinesOfOneProcessWorkSideBySide() throws Exception {
    float[] expected;
    try (NitPipeline one = open();
        NitPipeline two = open()) {
      expected = one.submit(request(one, 128, 5, 50)).get().latent();
      List<CompletableFuture<ImageResult>> first = new ArrayList<>();
      List<CompletableFuture<ImageResult>> second = new ArrayList<>();
      // One picture after the other in each, so that the packs are those of the first run.
      for (int round = 0; round < 5; round++) {
        first.add(one.submit(request(one, 128, 5, 50)));
        second.add(two.submit(request(two, 128, 5, 50)));
        first.get(round).get();
        second.get(round).get();
      }
      for (int round = 0; round < 5; round++) {
        assertArrayEquals(expected, first.get(round).get().latent(), "first, " + round);
        assertArrayEquals(expected, second.get(round).get().latent(), "second, " + round);
      }
      one.close();
      assertArrayEquals(expected, two.submit(request(two, 128, 5, 50)).get().latent());
    }
  }

  @Test
  void allDevicesShareTheRequestsOfOneJob() throws Exception {
    int count = Gpu.count();
    Path output = folder.resolve("pictures");
    CapturedRun run =
        CapturedRun.of(
            new Run(),
            "--bundle",
            bundle,
            "--backend",
            "tensorrt",
            "--devices",
            "all",
            "--label",
            "0",
            "--size",
            "64x96",
            "--count",
            "12",
            "--steps",
            "5",
            "--quiet",
            "--output",
            output);
    System.out.println("  " + count + " devices: " + run.out().strip());
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().startsWith("12 pictures in "), run.out());
    JsonNode summary = new ObjectMapper().readTree(output.resolve("summary.json").toFile());
    System.out.println("  " + summary);
    assertEquals(count, summary.get("devices").size());
    int made = 0;
    for (JsonNode device : summary.get("devices")) {
      made += device.get("pictures").asInt();
      assertEquals("tensorrt", device.get("backend").asText());
      long total = Gpu.open(device.get("device").asInt()).memory();
      assertEquals(total, device.get("device_bytes").asLong());
      long used = device.get("device_bytes_in_use").asLong();
      assertTrue(used > 64L << 20 && used < total, used + " bytes in use");
    }
    assertEquals(12, made);
    // 16x24 tokens: packs of whole steps of 128 tokens where they are small.
    assertEquals(0, summary.get("padded_tokens").asLong(-1));
    assertTrue(summary.get("peak_resident_bytes").asLong() > 64L << 20, summary.toString());
    assertTrue(Files.exists(output.resolve("contact-sheet.png")));
  }
}
