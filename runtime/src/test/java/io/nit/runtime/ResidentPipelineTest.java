package io.nit.runtime;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.runtime.engine.ResidentSampling;
import io.nit.runtime.trt.TwinSampling;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.CancellationException;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;

/** All that a pipeline does, with latents that stay with the model. */
class ResidentPipelineTest extends NitPipelineTest {
  @BeforeEach
  void keepLatents() {
    engine.twin = new TwinSampling(engine, 256);
  }

  private static List<ImageRequest> mixed(long seed, int count) {
    Random random = new Random(seed);
    List<ImageRequest> requests = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      SamplerKind sampler = SamplerKind.values()[random.nextInt(3)];
      double low = 0.1 * random.nextInt(5);
      requests.add(
          request()
              .label(random.nextInt(4))
              .size(2 * (1 + random.nextInt(4)), 2 * (1 + random.nextInt(4)))
              .seed(random.nextLong())
              .steps(2 + random.nextInt(12))
              .sampler(sampler)
              .guidance(
                  random.nextBoolean()
                      ? Guidance.NONE
                      : new Guidance(1.5 + random.nextDouble(), low, low + 0.4))
              .build());
    }
    return requests;
  }

  @Test
  void picturesThatComeAndGoHaveTheBitsOfLatentsOnTheHost() throws Exception {
    List<ImageRequest> requests = mixed(1, 120);
    TwinSampling twin = engine.twin;
    engine.twin = null;
    List<ImageResult> onHost = new ArrayList<>();
    NitPipeline host = pipeline(64);
    for (ImageRequest request : requests) {
      onHost.add(host.submit(request).get());
    }
    engine.twin = twin;
    engine.packs.clear();
    List<ImageResult> kept = together(pipeline(64), requests);
    assertEquals(ResidentSampling.MOST_STEPS, twin.mostUnderWay);
    assertTrue(engine.packs.stream().anyMatch(pack -> pack.images() > 6));
    for (int i = 0; i < onHost.size(); i++) {
      assertArrayEquals(onHost.get(i).latent(), kept.get(i).latent(), requests.get(i).describe());
      assertEquals(onHost.get(i).forwards(), kept.get(i).forwards());
    }
  }

  @Test
  void thoseThatAreCancelledLeaveAndTheOthersKeepTheirBits() throws Exception {
    List<ImageRequest> requests = mixed(2, 60);
    NitPipeline pipeline = pipeline(64);
    List<ImageResult> alone = new ArrayList<>();
    for (ImageRequest request : requests) {
      alone.add(pipeline.submit(request).get());
    }
    Random random = new Random(3);
    List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
    for (ImageRequest request : requests) {
      // Cancelled by its own step, on the sampling thread: in the middle, wherever the others are.
      int at = random.nextInt(3) > 0 ? Integer.MAX_VALUE : 1 + random.nextInt(request.steps() - 1);
      CompletableFuture<CompletableFuture<ImageResult>> itself = new CompletableFuture<>();
      CompletableFuture<ImageResult> future =
          pipeline.submit(
              request,
              (r, step, steps) -> {
                if (step == at) {
                  itself.join().cancel(true);
                }
              });
      itself.complete(future);
      futures.add(future);
    }
    int cancelled = 0;
    for (int i = 0; i < futures.size(); i++) {
      try {
        assertArrayEquals(alone.get(i).latent(), futures.get(i).get().latent());
      } catch (CancellationException e) {
        cancelled++;
      }
    }
    assertTrue(cancelled > 5 && cancelled < 40, cancelled + " cancelled");
  }

  @Test
  void aStepThatCannotBeBegunFailsItsPackAndThePipelineGoesOn() throws Exception {
    NitPipeline pipeline = pipeline(64);
    ImageRequest request = request().label(0).size(4, 4).steps(30).build();
    float[] expected = pipeline.submit(request).get().latent();
    CompletableFuture<ImageResult> failing =
        pipeline.submit(
            request,
            (r, step, steps) -> {
              if (step == 10) {
                engine.twin.refusal = "no memory left";
              }
            });
    String message = assertThrows(ExecutionException.class, failing::get).getMessage();
    assertTrue(message.contains("the forward failed: no memory left"), message);
    engine.twin.refusal = null;
    assertArrayEquals(expected, pipeline.submit(request).get().latent());
  }
}
