package io.nit.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertInstanceOf;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.LatentSize;
import io.nit.core.codec.NonFiniteDecodeException;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.codec.Tiling;
import io.nit.core.config.CustomFreqs;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.runtime.engine.EngineException;
import io.nit.testing.TinyAutoencoder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ConcurrentLinkedQueue;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;

@Timeout(60)
class NitPipelineTest {
  private static final NitConfig CONFIG =
      NitConfig.s().with(Map.of("in_channels", 12, "num_classes", 4, "ori_max_pe_len", 4));
  private static final SpaceToDepthCodec CODEC = new SpaceToDepthCodec(2);

  final FakeEngine engine = new FakeEngine(CONFIG, 0);
  private final List<NitPipeline> opened = new ArrayList<>();

  @AfterEach
  void close() {
    if (engine.permits != null) {
      engine.permits.release(1_000_000);
    }
    opened.forEach(NitPipeline::close);
  }

  @Test
  void aPictureIsTheSameWhateverSharesThePack() throws Exception {
    List<ImageRequest> mixed = new ArrayList<>();
    for (SamplerKind sampler : SamplerKind.values()) {
      for (int i = 0; i < 4; i++) {
        mixed.add(
            request()
                .label(i)
                .size(2 + 2 * i, 8 - 2 * i)
                .seed(100 + i)
                .steps(3 + i)
                .sampler(sampler)
                .guidance(i % 2 == 0 ? Guidance.NONE : new Guidance(2, 0.2, 0.8))
                .build());
      }
    }
    List<ImageResult> together = together(pipeline(64), mixed);
    assertTrue(engine.packs.stream().anyMatch(pack -> pack.images() > 4));
    for (int i = 0; i < mixed.size(); i++) {
      ImageResult alone = pipeline(64).submit(mixed.get(i)).get();
      assertArrayEquals(alone.latent(), together.get(i).latent(), "request " + i);
      assertArrayEquals(
          alone.image().orElseThrow().rgb(), together.get(i).image().orElseThrow().rgb());
      assertEquals(mixed.get(i).width(), alone.image().orElseThrow().width());
      assertEquals(mixed.get(i), together.get(i).request());
    }
  }

  @Test
  void noForwardIsOverTheBudgetAndFreedRoomIsUsedAtOnce() throws Exception {
    List<ImageRequest> requests = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      requests.add(request().label(0).size(8, 8).seed(i).steps(i == 0 ? 20 : 2).build());
    }
    together(pipeline(48), requests);
    assertTrue(engine.packs.stream().allMatch(pack -> pack.tokens() <= 48));
    // 16 tokens each: three share a pack; the 20-step one stays in it while others come and go.
    assertEquals(1 + 20, engine.packs.size());
    assertEquals(List.of(1, 3, 3, 3, 3, 3, 3, 3, 3, 1), first(10));
    assertEquals(1 + 9, opened.get(0).stats().images());
    assertEquals(1 + 20, opened.get(0).stats().forwards());
    assertEquals(1 + 16 * (20 + 8 * 2), opened.get(0).stats().tokens());
  }

  @Test
  void paddingIsWhatTheEnginesRoundPacksUpBy() throws Exception {
    FakeEngine weak = new FakeEngine(CONFIG, 0.5f);
    ImageRequest request =
        request().label(0).size(6, 2).steps(2).guidance(new Guidance(2, 0, 1)).build();
    guided(weak).submit(request).get();
    assertEquals(0, opened.get(0).stats().paddedTokens());
    assertEquals(0, opened.get(0).stats().paddedShare());
    engine.roundedTo = 4; // packs of 3 tokens, twice
    weak.roundedTo = 16;
    NitPipeline both = guided(weak);
    both.submit(request).get();
    assertEquals(4 * 3, both.stats().tokens());
    assertEquals(2 * 1 + 2 * 13, both.stats().paddedTokens());
    assertEquals(0.7, both.stats().paddedShare(), 1e-12);
    PipelineStats twice = both.stats().plus(both.stats());
    assertEquals(2 * 28, twice.paddedTokens());
    assertEquals(0.7, twice.paddedShare(), 1e-12);
    assertEquals(0, opened.get(0).stats().paddedTokens(), "of the pipeline's own packs alone");
  }

  private NitPipeline guided(FakeEngine weak) throws Exception {
    return keep(new NitPipeline(bundle(64, CONFIG), engine, Optional.of(weak), codec(), 0));
  }

  @Test
  void packsStayWithinWhatTheEngineWasBuiltFor() throws Exception {
    engine.mostTokens = 48;
    engine.mostImages = 4;
    List<ImageRequest> requests = new ArrayList<>();
    for (int i = 0; i < 9; i++) {
      requests.add(request().label(0).size(4, 4).seed(i).steps(2).build());
    }
    NitPipeline pipeline = pipeline(64);
    assertEquals(48, pipeline.rules().maxTokens());
    together(pipeline, requests);
    assertTrue(engine.packs.stream().allMatch(pack -> pack.tokens() <= 48 && pack.images() <= 4));
    assertTrue(
        engine.packs.stream().anyMatch(pack -> pack.images() == 2), "all are taken to be guided");
  }

  @Test
  void aGuidedImageTakesTwoPlacesOnlyWithinTheInterval() throws Exception {
    ImageRequest request =
        request().label(1).size(4, 4).steps(4).guidance(new Guidance(3, 0.4, 0.8)).build();
    pipeline(64).submit(request).get();
    List<List<Long>> labels = engine.packs.stream().map(FakeEngine.Pack::labels).toList();
    // t = 1, 0.75, 0.5, 0.25
    assertEquals(List.of(List.of(1L), List.of(1L, 4L), List.of(1L, 4L), List.of(1L)), labels);
  }

  @Test
  void theModelIsToldAheadOfExactlyTheForwardsThatFollow() throws Exception {
    for (SamplerKind sampler : SamplerKind.values()) {
      ImageRequest request =
          request()
              .label(1)
              .size(4, 4)
              .steps(5)
              .sampler(sampler)
              .guidance(new Guidance(3, 0.3, 0.7))
              .build();
      engine.announced.clear();
      engine.asked.clear();
      pipeline(64).submit(request).get();
      assertEquals(Set.copyOf(engine.announced), Set.copyOf(engine.asked), sampler.name());
      assertEquals(engine.announced.size(), engine.asked.size(), sampler.name());
    }
    FakeEngine weak = new FakeEngine(CONFIG, 0.5f);
    ImageRequest guided =
        request().label(2).size(4, 4).steps(4).guidance(new Guidance(2, 0, 0.6)).build();
    engine.announced.clear();
    engine.asked.clear();
    keep(new NitPipeline(bundle(64, CONFIG), engine, Optional.of(weak), codec(), 0))
        .submit(guided)
        .get();
    assertEquals(engine.announced, engine.asked);
    assertEquals(weak.announced, weak.asked);
    assertTrue(weak.asked.stream().allMatch(condition -> condition.label() == 4));
  }

  @Test
  void autoGuidanceRunsTheSecondModelOnTheGuidedImagesAlone() throws Exception {
    FakeEngine weak = new FakeEngine(CONFIG, 0.5f);
    ImageRequest plain = request().label(1).size(4, 4).steps(2).build();
    ImageRequest guided = plain.toBuilder().guidance(new Guidance(2, 0, 0.6)).build();
    NitPipeline pipeline =
        keep(new NitPipeline(bundle(64, CONFIG), engine, Optional.of(weak), codec(), 0));
    List<ImageResult> results = together(pipeline, List.of(plain, guided));
    assertEquals(List.of(1, 2, 2), first(3));
    assertEquals(List.of(new FakeEngine.Pack(1, 4, List.of(4L))), weak.packs);
    assertFalse(Arrays.equals(results.get(0).latent(), results.get(1).latent()));
  }

  @Test
  void everyRequestOfAPackHasItsOwnRopeMode() throws Exception {
    List<ImageRequest> requests = new ArrayList<>();
    requests.add(request().label(1).size(16, 16).steps(2).build()); // longer than the model's 4
    for (CustomFreqs mode : List.of(CustomFreqs.YARN, CustomFreqs.NTK_AWARE)) {
      requests.add(requests.get(0).toBuilder().ropeMode(mode).ropeReference(2).build());
    }
    requests.add(requests.get(1).toBuilder().ropeReference(3).build());
    List<ImageResult> together = together(pipeline(4 * 64), requests);
    assertTrue(engine.packs.stream().anyMatch(pack -> pack.images() == 4));
    for (int i = 0; i < requests.size(); i++) {
      float[] latent = together.get(i).latent();
      assertArrayEquals(pipeline(64).submit(requests.get(i)).get().latent(), latent);
      for (int other = 0; other < i; other++) {
        assertFalse(Arrays.equals(together.get(other).latent(), latent), other + " and " + i);
      }
    }
  }

  @Test
  void progressCountsEveryStepOnce() throws Exception {
    ConcurrentLinkedQueue<String> heard = new ConcurrentLinkedQueue<>();
    List<ImageRequest> requests =
        List.of(
            request().id("a").label(0).size(2, 2).steps(3).sampler(SamplerKind.HEUN).build(),
            request().id("b").label(0).size(2, 2).steps(2).build());
    List<ImageResult> results =
        pipeline(64)
            .generate(
                requests,
                (request, step, steps) ->
                    heard.add(request.id().orElseThrow() + step + "/" + steps),
                new CancellationToken());
    assertEquals(
        List.of("a1/3", "a2/3", "a3/3"), heard.stream().filter(s -> s.startsWith("a")).toList());
    assertEquals(List.of("b1/2", "b2/2"), heard.stream().filter(s -> s.startsWith("b")).toList());
    assertEquals(5, results.get(0).forwards());
    assertEquals(2, results.get(1).forwards());
  }

  @Test
  void aListenerThatThrowsStopsNothing() throws Exception {
    ImageRequest request = request().label(0).size(2, 2).steps(3).build();
    ProgressListener bad =
        (r, step, steps) -> {
          throw new IllegalStateException("listener");
        };
    assertTrue(pipeline(64).submit(request, bad).get().image().isPresent());
  }

  @Test
  void anErrorThatEndsTheSamplingThreadEndsEveryRequest() throws Exception {
    Error error = new AssertionError("a listener's, which the thread's handler prints");
    NitPipeline pipeline = pipeline(64);
    CompletableFuture<ImageResult> longer =
        pipeline.submit(request().label(0).size(4, 4).steps(1000).build());
    CompletableFuture<ImageResult> ending =
        pipeline.submit(
            request().label(0).size(4, 4).steps(3).build(),
            (request, step, steps) -> {
              if (step == steps) { // its last: it is no longer among those under way
                throw error;
              }
            });
    assertEndedWith(error, ending);
    assertEndedWith(error, longer);
    IllegalStateException late =
        assertThrows(
            IllegalStateException.class,
            () -> pipeline.submit(request().label(0).size(4, 4).build()));
    assertSame(error, late.getCause());
    assertSame(error, pipeline.failure().orElseThrow());
  }

  private static void assertEndedWith(Error error, CompletableFuture<ImageResult> future) {
    Throwable told = assertThrows(ExecutionException.class, future::get).getCause();
    assertInstanceOf(SamplingException.class, told);
    assertSame(error, told.getCause());
    assertTrue(told.getMessage().contains(error.toString()), told.getMessage());
  }

  @Test
  void anEngineThatDoesNotCloseKeepsNothingElseOpen() throws Exception {
    FakeEngine weak = new FakeEngine(CONFIG, 0.5f);
    engine.closeError = new IllegalStateException("an engine's, which the thread's handler prints");
    FakeCodec codec = new FakeCodec();
    new NitPipeline(bundle(64, CONFIG), engine, Optional.of(weak), Optional.of(codec), 0).close();
    assertTrue(weak.closed);
    assertTrue(codec.closed);
  }

  @Test
  void anErrorOfSamplingEndsWhatIsNotDecodedToo() throws Exception {
    FakeCodec codec = new FakeCodec();
    codec.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(codec);
    CompletableFuture<ImageResult> decoding =
        pipeline.submit(request().label(0).size(4, 4).steps(1).build());
    codec.awaitRuns(1);
    Error error = new NoClassDefFoundError("a library's, which the handler prints");
    engine.announceError = error;
    assertEndedWith(error, pipeline.submit(request().label(0).size(4, 4).build()));
    assertEndedWith(error, decoding);
  }

  @Test
  void anErrorAtTheStartOfARequestEndsItWithTheOthers() throws Exception {
    engine.announceError = new NoClassDefFoundError("a library's, which the handler prints");
    CompletableFuture<ImageResult> ending =
        pipeline(64).submit(request().label(0).size(4, 4).build());
    assertEndedWith(engine.announceError, ending);
  }

  @Test
  void aCancelledRequestLeavesThePackAndTheOthersGoOn() throws Exception {
    engine.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(64);
    CompletableFuture<ImageResult> first =
        pipeline.submit(request().label(0).size(8, 8).steps(50).build());
    CompletableFuture<ImageResult> second =
        pipeline.submit(request().label(1).size(4, 4).steps(6).build());
    CompletableFuture<ImageResult> waiting =
        pipeline.submit(request().label(2).size(16, 14).steps(2).build());
    engine.permits.release(2);
    awaitPacks(3);
    first.cancel(true);
    waiting.cancel(true);
    engine.permits.release(1000);
    assertTrue(second.get().image().isPresent());
    assertThrows(CancellationException.class, first::get);
    int size = engine.packs.size();
    assertTrue(size < 10, size + " forwards");
    assertTrue(engine.packs.stream().noneMatch(pack -> pack.labels().contains(2L)));
    assertEquals(List.of(1L), engine.packs.get(size - 1).labels());
  }

  @Test
  void aCancelledBatchIsTakenOut() throws Exception {
    engine.permits = new Semaphore(3);
    NitPipeline pipeline = pipeline(64);
    CancellationToken token = new CancellationToken();
    List<ImageRequest> batch = List.of(request().label(0).size(8, 8).steps(1000).build());
    assertThrows(
        CancellationException.class,
        () ->
            pipeline.generate(
                batch,
                (request, step, steps) -> {
                  if (step == 2) {
                    token.cancel();
                  }
                },
                token));
    engine.permits.release(1000);
    assertTrue(pipeline.submit(request().label(1).size(2, 2).steps(1).build()).get() != null);
    assertTrue(engine.packs.size() < 10);
  }

  @Test
  void nanFailsItsOwnRequestAlone() throws Exception {
    engine.nanLabel = 2;
    NitPipeline pipeline = pipeline(64);
    List<ImageRequest> batch =
        List.of(
            request().label(1).size(4, 4).steps(3).build(),
            request().id("broken").label(2).size(4, 4).steps(3).build(),
            request().label(3).size(4, 4).steps(3).build());
    SamplingException failed =
        assertThrows(
            SamplingException.class,
            () -> pipeline.generate(batch, ProgressListener.NONE, new CancellationToken()));
    assertTrue(failed.getMessage().contains("1 of 3"), failed.getMessage());
    assertTrue(failed.getMessage().contains("broken: the latent holds NaN"), failed.getMessage());
    assertEquals(
        List.of(batch.get(0), batch.get(2)),
        failed.completed().stream().map(ImageResult::request).toList());
  }

  @Test
  void aFailedForwardFailsItsPackAndThePipelineGoesOn() throws Exception {
    engine.failure = "out of memory";
    NitPipeline pipeline = pipeline(64);
    ImageRequest request = request().label(0).size(4, 4).steps(3).build();
    ExecutionException failed =
        assertThrows(ExecutionException.class, () -> pipeline.submit(request).get());
    assertInstanceOf(SamplingException.class, failed.getCause());
    assertTrue(failed.getMessage().contains("out of memory"), failed.getMessage());
    engine.failure = null;
    assertTrue(pipeline.submit(request).get().image().isPresent());
  }

  @Test
  void aFailedDecodeFailsItsOwnRequestAlone() throws Exception {
    LatentCodec picky =
        new DelegatingCodec() {
          @Override
          public float[] decode(float[] latent, int h, int w) {
            float[] planes = super.decode(latent, h, w);
            planes[3] = h == 1 ? Float.NaN : planes[3];
            return planes;
          }
        };
    NitPipeline pipeline =
        keep(new NitPipeline(bundle(64, CONFIG), engine, Optional.empty(), Optional.of(picky), 0));
    CompletableFuture<ImageResult> bad =
        pipeline.submit(request().label(0).size(4, 2).steps(2).build());
    CompletableFuture<ImageResult> good =
        pipeline.submit(request().label(0).size(4, 4).steps(2).build());
    assertTrue(good.get().image().isPresent());
    String message = assertThrows(ExecutionException.class, bad::get).getMessage();
    assertTrue(message.contains("NaN"), message);
  }

  @Test
  void anErrorThatEndsTheDecodingThreadEndsThePipeline() throws Exception {
    FakeCodec codec = new FakeCodec();
    Error error = new NoClassDefFoundError("a library's, which the thread's handler prints");
    codec.failure = error;
    engine.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(codec);
    CompletableFuture<ImageResult> longer =
        pipeline.submit(request().label(0).size(4, 4).steps(20_000).build());
    ImageRequest request = request().label(0).size(4, 4).steps(2).build();
    ConcurrentLinkedQueue<Boolean> known = new ConcurrentLinkedQueue<>();
    assertTrue(pipeline.failure().isEmpty());
    CompletableFuture<ImageResult> ending =
        pipeline
            .submit(request)
            .whenComplete((result, e) -> known.add(pipeline.failure().isPresent()));
    while (!longer.isDone()) { // far from its last step
      engine.permits.release();
      Thread.sleep(1);
    }
    assertEndedWith(error, ending);
    assertEquals(List.of(true), List.copyOf(known), "known before the request fails by it");
    assertSame(error, pipeline.failure().orElseThrow());
    assertEndedWith(error, longer);
    IllegalStateException late =
        assertThrows(IllegalStateException.class, () -> pipeline.submit(request));
    assertSame(error, late.getCause());
    while (!engine.closed) { // nobody has closed the pipeline
      Thread.sleep(1);
    }
  }

  @Test
  void latentsOfOneSizeThatWaitAreDecodedTogetherInTheirOrder() throws Exception {
    FakeCodec codec = new FakeCodec();
    codec.limit = 3;
    codec.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(codec);
    List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
    futures.add(pipeline.submit(request().label(0).size(2, 2).steps(1).build()));
    codec.awaitRuns(1); // it is being decoded; the rest piles up behind it
    int[][] sizes = {{4, 4}, {8, 4}, {4, 4}, {4, 4}, {8, 4}, {4, 4}, {6, 6}};
    for (int[] size : sizes) {
      // One after the other, so that their order is known.
      futures.add(pipeline.submit(request().label(0).size(size[0], size[1]).steps(1).build()));
      while (pipeline.stats().images() < futures.size()) {
        Thread.sleep(1);
      }
    }
    codec.permits.release(1000);
    for (CompletableFuture<ImageResult> future : futures) {
      assertTrue(future.get().image().isPresent());
    }
    assertEquals(
        List.of("1 of 1x1", "3 of 2x2", "2 of 4x2", "1 of 2x2", "1 of 3x3"),
        codec.runs.stream().toList());
    for (int i = 0; i < sizes.length; i++) {
      assertEquals(sizes[i][0], futures.get(i + 1).get().image().orElseThrow().width());
    }
  }

  @Test
  void decodingOverlapsTheSamplingOfTheNextPack() throws Exception {
    FakeCodec codec = new FakeCodec();
    codec.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(codec);
    CompletableFuture<ImageResult> first =
        pipeline.submit(request().label(0).size(4, 4).steps(1).build());
    codec.awaitRuns(1);
    pipeline.submit(request().label(1).size(4, 4).steps(6).build());
    awaitPacks(1 + 6); // while the first is being decoded
    assertFalse(first.isDone());
    engine.permits = new Semaphore(0);
    pipeline.submit(request().label(2).size(4, 4).steps(3).build());
    awaitPacks(1 + 6 + 1);
    codec.permits.release(1);
    assertTrue(first.get().image().isPresent(), "decoded while a forward runs");
  }

  @Test
  void samplingWaitsWhereDecodingFallsBehind() throws Exception {
    FakeCodec codec = new FakeCodec();
    codec.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(codec);
    List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
    int all = 2 * DecodingLoop.MOST_WAITING;
    for (int i = 0; i < all; i++) {
      // A pack holds one of them.
      futures.add(pipeline.submit(request().label(0).size(16, 16).seed(i).steps(1).build()));
    }
    // Decoded, waiting, the one not taken yet, and what was begun before that was known.
    int most = 1 + DecodingLoop.MOST_WAITING + 1 + (engine.twin == null ? 0 : 1);
    awaitPacks(most);
    Thread.sleep(100);
    assertEquals(most, engine.packs.size());
    codec.permits.release(1000);
    for (CompletableFuture<ImageResult> future : futures) {
      assertTrue(future.get().image().isPresent());
    }
    assertEquals(all, engine.packs.size());
  }

  @Test
  void oneThatCannotBeDecodedFailsAloneAndTheRestOfItsBatchIsDelivered() throws Exception {
    for (Throwable failure :
        List.of(
            new NonFiniteDecodeException(new float[48], 2, 2),
            new CodecException("no memory left", null),
            new OutOfMemoryError("Java heap space"))) {
      FakeCodec codec = new FakeCodec();
      codec.limit = 8;
      codec.permits = new Semaphore(0);
      NitPipeline pipeline = pipeline(codec);
      pipeline.submit(request().label(0).size(2, 2).steps(1).build());
      codec.awaitRuns(1);
      List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
      for (int i = 0; i < 4; i++) {
        ImageRequest request = request().id("r" + i).label(0).size(4, 4).seed(i).steps(1).build();
        futures.add(pipeline.submit(request));
      }
      while (pipeline.stats().images() < 5) {
        Thread.sleep(1);
      }
      // They are counted before they wait for the decoder; when a later one is, they do.
      pipeline.submit(request().label(0).size(2, 2).steps(1).build());
      while (pipeline.stats().images() < 6) {
        Thread.sleep(1);
      }
      codec.failure = failure;
      codec.failing = 1; // of each batch that has so many, the second
      codec.permits.release(1000);
      for (int i : new int[] {0, 2, 3}) {
        assertTrue(futures.get(i).get().image().isPresent());
      }
      ExecutionException failed = assertThrows(ExecutionException.class, futures.get(1)::get);
      assertInstanceOf(SamplingException.class, failed.getCause());
      assertTrue(
          failed.getMessage().contains("r1: decoding failed: " + failure.getMessage()),
          failed.getMessage());
      codec.failure = null;
      ImageRequest next = request().label(0).size(4, 4).steps(1).build();
      assertTrue(pipeline.submit(next).get().image().isPresent(), "the pipeline goes on");
    }
  }

  @Test
  void theRotaryTablesOfPacksThatComeAgainAreKept() throws Exception {
    NitPipeline pipeline = pipeline(64);
    ImageRequest request =
        request().label(0).size(4, 8).steps(6).guidance(new Guidance(2, 0, 0.5)).build();
    float[] latent = pipeline.submit(request).get().latent();
    for (int i = 0; i < 3; i++) {
      assertArrayEquals(latent, pipeline.submit(request).get().latent());
    }
    assertEquals(2, engine.ropes.size(), "with guidance and without");
    for (int side = 2; side <= 12; side += 2) { // more packs than are kept
      pipeline.submit(request().label(0).size(side, 2).steps(1).build()).get();
    }
    assertArrayEquals(latent, pipeline.submit(request).get().latent());
    assertEquals(2 + 6 + 2, engine.ropes.size());
  }

  @Test
  void resultsAndStatsTellOfRetriesAndTiles() throws Exception {
    FakeCodec codec = new FakeCodec();
    NitPipeline pipeline = pipeline(codec);
    ImageResult plain = pipeline.submit(request().label(0).size(4, 4).steps(1).build()).get();
    assertFalse(plain.decodeRetried());
    assertEquals(1, plain.tiles());
    codec.retried = true;
    codec.tiles = 6;
    ImageResult retried = pipeline.submit(request().label(0).size(4, 4).steps(1).build()).get();
    assertTrue(retried.decodeRetried());
    assertEquals(6, retried.tiles());
    assertEquals(1, pipeline.stats().retriedDecodes());
    assertTrue(pipeline.stats().decodeSeconds() >= plain.decodingSeconds());
    assertTrue(plain.decodingSeconds() > 0);
    assertTrue(plain.beginningSeconds() >= 0 && plain.handingSeconds() >= 0, plain.toString());
    assertTrue(plain.beginningSeconds() <= plain.samplingSeconds(), plain.toString());
  }

  @Test
  void closingDuringADecodeEndsItAndWhatWaitsBehindIt() throws Exception {
    FakeCodec codec = new FakeCodec();
    codec.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(codec);
    List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
    for (int i = 0; i < 40; i++) { // more than may wait, so that sampling waits too
      futures.add(pipeline.submit(request().label(0).size(16, 16).steps(1).build()));
    }
    codec.awaitRuns(1);
    awaitPacks(1 + DecodingLoop.MOST_WAITING);
    pipeline.close();
    assertTrue(codec.closed);
    assertTrue(engine.closed);
    assertEquals(1, codec.runs.size());
    for (CompletableFuture<ImageResult> future : futures) {
      assertTrue(future.isDone());
      assertThrows(CancellationException.class, future::get);
    }
    pipeline.close();
  }

  @Test
  void whatIsCancelledWhileItWaitsIsNotDecoded() throws Exception {
    FakeCodec codec = new FakeCodec();
    codec.permits = new Semaphore(0);
    NitPipeline pipeline = pipeline(codec);
    List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      futures.add(pipeline.submit(request().label(0).size(4, 4).seed(i).steps(1).build()));
    }
    codec.awaitRuns(1);
    while (pipeline.stats().images() < 3) {
      Thread.sleep(1);
    }
    futures.get(1).cancel(true);
    codec.permits.release(1000);
    assertTrue(futures.get(2).get().image().isPresent());
    assertEquals(2, codec.runs.size());
  }

  @Test
  void tilesThatDoNotFitTheCodecAreRefusedBeforeAModelIsLoaded(@TempDir Path folder)
      throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    Files.write(bundle.model(), new byte[(int) Files.size(bundle.model())]); // does not load
    NitPipeline.Builder builder =
        NitPipeline.builder(folder).decodeTiling(new Tiling(1000, 900, 1));
    String message = assertThrows(IllegalArgumentException.class, builder::open).getMessage();
    assertTrue(message.contains("multiples of 8 pixels"), message);
  }

  @Test
  void sizesToBeMadeReadyThatDoNotFitAreRefusedBeforeAModelIsLoaded(@TempDir Path folder)
      throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    Files.write(bundle.model(), new byte[(int) Files.size(bundle.model())]); // does not load
    Map<int[], String> refused =
        Map.of(
            new int[] {12, 16}, "multiples of 8, found 12x16; nearest: 8x16, 16x16",
            new int[] {0, 8}, "1 or more pixels a side, found 0x8",
            new int[] {8 * 65, 8}, "at most 64 tokens (the token budget), found 520x8, 65 tokens");
    for (Map.Entry<int[], String> one : refused.entrySet()) {
      NitPipeline.Builder builder =
          NitPipeline.builder(folder)
              .maxTokens(64)
              .warmUp(16, 8)
              .warmUp(one.getKey()[0], one.getKey()[1]);
      String message = assertThrows(IllegalArgumentException.class, builder::open).getMessage();
      assertTrue(message.contains(one.getValue()), message);
    }
  }

  @Test
  void aCodecIsMadeReadyForTheLatentsOfSizesAndItsFailureFailsTheOpening() throws Exception {
    FakeCodec codec = new FakeCodec();
    NitPipeline.makeReady(codec, List.of());
    assertEquals(List.of(), codec.warmed);
    NitPipeline.makeReady(codec, List.of(new int[] {8, 4}, new int[] {2, 6}));
    assertEquals(List.of(new LatentSize(2, 4), new LatentSize(3, 1)), codec.warmed);
    codec.failure = new CodecException("expected 900 MiB of device memory", null);
    EngineException failed =
        assertThrows(EngineException.class, () -> NitPipeline.makeReady(codec, List.of()));
    assertEquals("expected 900 MiB of device memory", failed.getMessage());
  }

  @Test
  void aPictureBelowOneLatentCellIsRefused(@TempDir Path folder) throws Exception {
    RequestValidator rules = new RequestValidator(TinyAutoencoder.bundle(folder), 0, false);
    ImageRequest small = request().label(0).size(4, 4).build();
    String message =
        assertThrows(IllegalArgumentException.class, () -> rules.check(small)).getMessage();
    assertTrue(message.contains("multiples of 8, found 4x4; nearest: 8x8"), message);
  }

  @Test
  void closingWhileRunningEndsEverythingAndMayBeDoneTwice() throws Exception {
    engine.permits = new Semaphore(1);
    NitPipeline pipeline = pipeline(64);
    CompletableFuture<ImageResult> running =
        pipeline.submit(request().label(0).size(8, 8).steps(20_000).build());
    CompletableFuture<ImageResult> waiting =
        pipeline.submit(request().label(0).size(16, 16).steps(20_000).build());
    awaitPacks(2);
    Thread closer = new Thread(pipeline::close);
    closer.start();
    engine.permits.release(1_000_000);
    closer.join();
    pipeline.close();
    assertTrue(engine.closed);
    for (CompletableFuture<ImageResult> future : List.of(running, waiting)) {
      assertThrows(CancellationException.class, future::get);
    }
    assertThrows(
        IllegalStateException.class,
        () -> pipeline.submit(request().label(0).size(2, 2).steps(1).build()));
  }

  @Test
  void aCallbackMayCloseThePipeline() throws Exception {
    NitPipeline pipeline = pipeline(64);
    CountDownLatch done = new CountDownLatch(1);
    pipeline
        .submit(request().label(0).size(2, 2).steps(2).build())
        .whenComplete(
            (result, failure) -> {
              pipeline.close();
              done.countDown();
            });
    assertTrue(done.await(30, TimeUnit.SECONDS));
    pipeline.close();
    assertTrue(engine.closed);
  }

  @Test
  void requestsFromManyThreadsAreAllServed() throws Exception {
    NitPipeline pipeline = pipeline(64);
    ConcurrentLinkedQueue<CompletableFuture<ImageResult>> futures = new ConcurrentLinkedQueue<>();
    List<Thread> threads = new ArrayList<>();
    for (int i = 0; i < 8; i++) {
      int label = i % 4;
      Thread thread =
          new Thread(
              () -> {
                for (int seed = 0; seed < 25; seed++) {
                  futures.add(
                      pipeline.submit(
                          request().label(label).size(4, 6).seed(seed).steps(3).build()));
                }
              });
      thread.start();
      threads.add(thread);
    }
    for (Thread thread : threads) {
      thread.join();
    }
    for (CompletableFuture<ImageResult> future : futures) {
      assertTrue(future.get().image().isPresent());
    }
    assertEquals(200, pipeline.stats().images());
  }

  @Test
  void withoutACodecLatentsComeOut() throws Exception {
    NitPipeline pipeline =
        keep(
            new NitPipeline(
                bundle(64, CONFIG, Optional.empty()),
                engine,
                Optional.empty(),
                Optional.empty(),
                0));
    ImageResult result = pipeline.submit(request().label(0).size(3, 5).steps(2).build()).get();
    assertTrue(result.image().isEmpty());
    assertEquals(12 * 3 * 5, result.latent().length);
    assertEquals(5, result.latentHeight());
  }

  @Test
  void badRequestsAreRefusedBeforeAnythingRuns() {
    NitPipeline pipeline = pipeline(64);
    assertRefused(pipeline, request().label(0).size(5, 4), "multiples of 2", "4x4, 6x4");
    assertRefused(pipeline, request().label(0).size(1, 4), "multiples of 2", "2x4");
    assertRefused(pipeline, request().label(0).size(18, 16), "at most 64 tokens", "9x8 tokens");
    assertRefused(
        pipeline,
        request().label(0).size(16, 12).guidance(new Guidance(2, 0, 1)),
        "twice for guidance");
    assertRefused(pipeline, request().label(4).size(4, 4), "0..3", "zebra", "'4'");
    assertRefused(pipeline, request().label("horse").size(4, 4), "0..3", "zebra", "'horse'");
    assertRefused(pipeline, request().label(-1).size(4, 4), "0..3");
    assertThrows(
        IllegalArgumentException.class,
        () ->
            pipeline.generate(
                List.of(
                    request().label(0).size(4, 4).build(), request().label(9).size(4, 4).build()),
                ProgressListener.NONE,
                new CancellationToken()));
    assertEquals(List.of(), engine.packs);
  }

  @Test
  void guidanceWithoutANullClassIsRefused() throws Exception {
    NitConfig noNull = CONFIG.with(Map.of("class_dropout_prob", 0.0));
    NitPipeline pipeline =
        keep(
            new NitPipeline(
                bundle(64, noNull), new FakeEngine(noNull, 0), Optional.empty(), codec(), 0));
    assertRefused(
        pipeline, request().label(0).size(4, 4).guidance(new Guidance(2, 0, 1)), "null class");
    assertEquals(1, pipeline.request().label(0).size(4, 4).build().guidance().scale());
  }

  @Test
  void labelsGoByNumberOrName() {
    RequestValidator rules = pipeline(64).rules();
    assertEquals(2, rules.label("2"));
    assertEquals(3, rules.label("zebra"));
    assertNotEquals(rules.label("cat"), rules.label("dog"));
  }

  @Test
  void aBudgetAboveTheBundlesIsRefused() {
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> new RequestValidator(bundle(64, CONFIG), 65, false))
            .getMessage();
    assertTrue(message.contains("1..64") && message.contains("65"), message);
  }

  private void assertRefused(
      NitPipeline pipeline, ImageRequest.Builder request, String... inMessage) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> pipeline.submit(request.build()))
            .getMessage();
    for (String part : inMessage) {
      assertTrue(message.contains(part), message);
    }
  }

  /** Serves requests that all wait when the first pack is made, behind one of a single token. */
  List<ImageResult> together(NitPipeline pipeline, List<ImageRequest> requests) throws Exception {
    engine.permits = new Semaphore(0);
    pipeline.submit(request().label(0).size(2, 2).steps(1).build());
    awaitPacks(1);
    List<CompletableFuture<ImageResult>> futures = requests.stream().map(pipeline::submit).toList();
    engine.permits.release(1_000_000);
    List<ImageResult> results = new ArrayList<>();
    for (CompletableFuture<ImageResult> future : futures) {
      results.add(future.get());
    }
    return results;
  }

  private void awaitPacks(int count) throws InterruptedException {
    while (engine.packs.size() < count) {
      Thread.sleep(1);
    }
  }

  private List<Integer> first(int packs) {
    return engine.packs.stream().limit(packs).map(FakeEngine.Pack::images).toList();
  }

  static ImageRequest.Builder request() {
    return ImageRequest.builder(new Bundle.SamplingDefaults(4, "euler", 1, 0, 1));
  }

  NitPipeline pipeline(int maxTokens) {
    engine.closed = false;
    return keep(new NitPipeline(bundle(256, CONFIG), engine, Optional.empty(), codec(), maxTokens));
  }

  private NitPipeline pipeline(LatentCodec decoding) {
    engine.closed = false;
    return keep(
        new NitPipeline(bundle(64, CONFIG), engine, Optional.empty(), Optional.of(decoding), 0));
  }

  private NitPipeline keep(NitPipeline pipeline) {
    opened.add(pipeline);
    return pipeline;
  }

  private static Optional<LatentCodec> codec() {
    return Optional.of(CODEC);
  }

  private static Bundle bundle(int maxTokens, NitConfig config) {
    return bundle(maxTokens, config, Optional.of(CODEC));
  }

  private static Bundle bundle(int maxTokens, NitConfig config, Optional<CodecSpec> codec) {
    return new Bundle(
        Path.of("bundle"),
        config,
        "model.onnx",
        "F32",
        18,
        codec,
        Optional.empty(),
        List.of("cat", "dog", "fish", "zebra"),
        maxTokens,
        Bundle.SamplingDefaults.STANDARD,
        List.of(),
        JsonNodeFactory.instance.arrayNode(),
        JsonNodeFactory.instance.objectNode());
  }

  /** Passes everything on. */
  private static class DelegatingCodec implements LatentCodec {
    @Override
    public CodecSpec spec() {
      return CODEC;
    }

    @Override
    public float[] encode(float[] rgb, int height, int width) {
      return CODEC.encode(rgb, height, width);
    }

    @Override
    public float[] decode(float[] latent, int latentH, int latentW) {
      return CODEC.decode(latent, latentH, latentW);
    }
  }
}
