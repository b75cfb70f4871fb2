package io.nit.tests.endtoend;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.CustomFreqs;
import io.nit.core.flow.SamplerKind;
import io.nit.runtime.CancellationToken;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.ProgressListener;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The pipeline on an exported model in ONNX Runtime. */
class PipelineOnOnnxTest {
  @TempDir static Path folder;
  private static Path bundle;
  private static NitPipeline pipeline;

  @BeforeAll
  static void open() throws Exception {
    bundle = Bundles.pictures(folder, 1);
    pipeline =
        NitPipeline.builder(bundle)
            .backend("ort-cpu")
            .threads(2)
            .maxTokens(1024)
            .warmUp() // nothing here; TensorRtGpuTest has a backend that does something
            .open();
  }

  @AfterAll
  static void close() {
    pipeline.close();
  }

  @Test
  void theSameSeedGivesTheSamePictureWhateverSharesThePack() throws Exception {
    for (SamplerKind sampler : SamplerKind.values()) {
      ImageRequest request = request(2, 44, 28).seed(7).steps(8).sampler(sampler).build();
      byte[] alone = pixels(pipeline.submit(request).get());
      List<ImageRequest> crowd = new ArrayList<>();
      for (int i = 0; i < 6; i++) {
        crowd.add(
            request(i % 4, 8 + 8 * i, 64 - 8 * i).seed(i).steps(3 + i).guidanceScale(1).build());
      }
      crowd.add(3, request);
      byte[] among = pixels(generate(crowd).get(3));
      assertTrue(spread(alone, among) <= 1, sampler + ": " + spread(alone, among));
      byte[] other = pixels(pipeline.submit(request.toBuilder().seed(8).build()).get());
      assertTrue(spread(alone, other) > 50, sampler + ": another seed, another picture");
    }
  }

  @Test
  void labelGuidanceAndRopeModeChangeThePicture() throws Exception {
    ImageRequest plain = request(0, 48, 32).steps(6).build();
    List<ImageResult> results =
        generate(
            List.of(
                plain,
                plain.toBuilder().label("zebra").build(),
                plain.toBuilder().guidanceScale(1).build(),
                plain.toBuilder().ropeMode(CustomFreqs.NTK_AWARE).ropeReference(4).build()));
    byte[] first = pixels(results.get(0));
    for (ImageResult other : results.subList(1, 4)) {
      assertFalse(Arrays.equals(first, pixels(other)), other.request().toJson());
    }
  }

  @Test
  void anotherModelGuides() throws Exception {
    Path weaker = Bundles.pictures(folder, 2);
    try (NitPipeline guided = NitPipeline.builder(bundle).autoGuidanceModel(weaker).open()) {
      ImageRequest request = request(1, 32, 32).steps(4).build();
      byte[] byWeaker = pixels(guided.submit(request).get());
      assertFalse(Arrays.equals(byWeaker, pixels(pipeline.submit(request).get())));
      // t = 1, .75, .5, .25, guided at 0.7 and below
      assertEquals(4 + 2, guided.stats().forwards());
    }
  }

  @Test
  void twoHundredPicturesTakeConstantNativeAndHeapMemory() throws Exception {
    Processes.Finished probe = Processes.run(MemoryProbe.class, folder, bundle);
    assertEquals(0, probe.code(), probe.err());
    String[] grown = probe.out().trim().split(" ");
    // A leak of one input or velocity a forward would be some 100 KiB, 800 times.
    assertTrue(Long.parseLong(grown[0]) < 24 << 10, "native memory grew by KiB: " + grown[0]);
    assertTrue(Long.parseLong(grown[1]) < 4 << 10, "heap grew by KiB: " + grown[1]);
  }

  @Test
  void openingTellsWhatDoesNotFit() throws Exception {
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () -> NitPipeline.builder(bundle).backend("cuda").open()),
        "ort-cpu",
        "'cuda'");
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () -> NitPipeline.builder(bundle).maxTokens(1 << 20).open()),
        "max tokens",
        "16384");
    assertMessage(assertThrows(IOException.class, () -> NitPipeline.open(folder)), "bundle.json");
    Path golden = Bundles.golden(folder);
    assertMessage(
        assertThrows(
            IllegalArgumentException.class,
            () -> NitPipeline.builder(bundle).autoGuidanceModel(golden).open()),
        "auto-guidance",
        "48, 1, 4",
        "32, 1, 10");
  }

  @Test
  void aChangedModelFileIsRefusedByItsSize() throws Exception {
    Path damaged = Bundles.pictures(Files.createDirectories(folder.resolve("damaged")), 1);
    Path model = damaged.resolve("model.onnx");
    byte[] bytes = Files.readAllBytes(model);
    Files.write(model, Arrays.copyOf(bytes, bytes.length / 2));
    assertMessage(
        assertThrows(IOException.class, () -> NitPipeline.open(damaged)),
        "model.onnx",
        "expected " + bytes.length + " bytes");
  }

  private static void assertMessage(Exception e, String... parts) {
    for (String part : parts) {
      assertTrue(e.getMessage().contains(part), e.getMessage());
    }
  }

  private static ImageRequest.Builder request(int label, int width, int height) {
    return pipeline.request().label(label).size(width, height);
  }

  private static List<ImageResult> generate(List<ImageRequest> requests) throws Exception {
    return pipeline.generate(requests, ProgressListener.NONE, new CancellationToken());
  }

  private static byte[] pixels(ImageResult result) {
    return result.image().orElseThrow().rgb();
  }

  private static int spread(byte[] a, byte[] b) {
    assertEquals(a.length, b.length);
    int most = 0;
    for (int i = 0; i < a.length; i++) {
      most = Math.max(most, Math.abs((a[i] & 0xff) - (b[i] & 0xff)));
    }
    return most;
  }
}
