package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.DcAeFolder;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.DecodedImage;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.LatentSize;
import io.nit.core.codec.Tiling;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.image.RgbImage;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRt;
import io.nit.exporter.cli.Export;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.Engines;
import io.nit.testing.CapturedRun;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.SyntheticWeights;
import io.nit.trainer.autoencoder.DcAeCodec;
import io.nit.trainer.autoencoder.Precision;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.bytedeco.pytorch.Device;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** An autoencoder's engines: built by the command, run as the backend's codec. */
@Tag("gpu")
class DcAeTensorRtGpuTest {
  /** Whole pictures, whatever their size. */
  private static final EngineOptions WHOLE =
      new EngineOptions(0, new DecodeOptions(new Tiling(1 << 15, 1 << 15, Long.MAX_VALUE), 0));

  /** Latent sizes: within the first profile (8 cells a side), and for the second (20). */
  private static final int[][] SIZES = {{1, 1}, {3, 5}, {8, 8}, {2, 7}, {20, 2}, {5, 19}, {20, 20}};

  /** Kernels are timed once for all tests. */
  @TempDir static Path shared;

  @TempDir Path folder;

  @BeforeAll
  static void needsAGpuAndTensorRt() {
    PluginEngines.skipIf(TensorRt.refusal(0).orElse(""), DcAeTensorRtGpuTest.class);
  }

  /** Small: factor 8. Wide: the published network's stages at a quarter of its width, factor 32. */
  private static DcAeConfig config(String name) {
    return name.equals("small")
        ? GeneratedDcAe.small()
        : DcAeConfig.fromJson(
            """
            {"_class_name": "AutoencoderDC", "in_channels": 3, "latent_channels": 32,
             "attention_head_dim": 32, "downsample_block_type": "Conv",
             "upsample_block_type": "interpolate", "scaling_factor": 0.41407,
             "encoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock",
                 "EfficientViTBlock", "EfficientViTBlock"],
             "decoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock",
                 "EfficientViTBlock", "EfficientViTBlock"],
             "encoder_block_out_channels": [32, 64, 128, 128, 256, 256],
             "decoder_block_out_channels": [32, 64, 128, 128, 256, 256],
             "encoder_layers_per_block": [2, 2, 2, 3, 3, 3],
             "decoder_layers_per_block": [3, 3, 3, 3, 3, 3],
             "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
             "decoder_qkv_multiscales": [[], [], [], [5], [5], [5]]}
            """,
            "wide");
  }

  private static NitConfig model(DcAeConfig autoencoder) {
    return NitConfig.s()
        .with(
            Map.of(
                "hidden_size", 144,
                "depth", 2,
                "num_heads", 2,
                "in_channels", autoencoder.latentChannels(),
                "num_classes", 5,
                "encoder_depth", 1,
                "projector_dim", 20,
                "z_dim", 12));
  }

  private Bundle bundle(DcAeConfig autoencoder) throws IOException {
    NitConfig model = model(autoencoder);
    return LearnedBundles.write(
        folder.resolve("bundle"),
        model,
        new SyntheticWeights(model, false),
        autoencoder,
        new GeneratedDcAe(autoencoder),
        DType.F32,
        1024,
        true);
  }

  private CapturedRun build(Bundle bundle, String... more) {
    List<String> words = new ArrayList<>(List.of("engine", bundle.folder().toString()));
    words.addAll(List.of("--timing-cache", shared.resolve("timings").toString()));
    words.addAll(List.of(more));
    long start = System.nanoTime();
    CapturedRun run = CapturedRun.of(new Export(), words.toArray());
    System.out.printf(
        Locale.ROOT,
        "%s%n  %s: %.1f s%n",
        run.err().indent(4),
        String.join(" ", words.subList(4, words.size())),
        (System.nanoTime() - start) / 1e9);
    assertEquals(0, run.code(), run.err());
    return run;
  }

  private void buildHalves(Bundle bundle, String precision, String sizes, String... more) {
    List<String> words = new ArrayList<>(List.of("--parts", "decoder,encoder"));
    words.addAll(List.of("--autoencoder-precision", precision, "--autoencoder-sizes", sizes));
    words.addAll(List.of(more));
    build(bundle, words.toArray(String[]::new));
  }

  private static String sides(DcAeConfig config) {
    return 8 * config.factor() + "," + 20 * config.factor();
  }

  private static LatentCodec open(Bundle bundle, String backend, EngineOptions options)
      throws IOException, EngineException {
    return Engines.openCodec(bundle, backend, options).orElseThrow();
  }

  @ParameterizedTest
  @CsvSource({
    "small, f32, 1e-4",
    "small, bf16, 1e-1",
    "small, f16, 2e-2",
    "wide, f32, 1e-4",
    "wide, bf16, 1e-1",
    "wide, f16, 2e-2"
  })
  void everySizeOfOneEngineIsOnnxRuntimesPictureAndLatent(
      String name, String precision, double bound) throws Exception {
    DcAeConfig config = config(name);
    Bundle bundle = bundle(config);
    buildHalves(bundle, precision, sides(config));
    int f = config.factor();
    double worst = 0;
    try (LatentCodec engine = open(bundle, "tensorrt", WHOLE);
        LatentCodec reference = open(bundle, "ort-cpu", WHOLE)) {
      List<float[]> first = new ArrayList<>();
      for (int[] size : SIZES) {
        float[] latent = GeneratedDcAe.latent(config.latentChannels(), size[0], size[1]);
        float[] picture = engine.decode(latent, size[0], size[1]);
        first.add(picture);
        double decoding = Errors.relative(picture, reference.decode(latent, size[0], size[1]));
        float[] rgb = GeneratedDcAe.image(size[0] * f, size[1] * f);
        double encoding =
            Errors.relative(
                engine.encode(rgb, size[0] * f, size[1] * f),
                reference.encode(rgb, size[0] * f, size[1] * f));
        System.out.printf(
            Locale.ROOT,
            "  %s %s %dx%d: decode %.2e, encode %.2e%n",
            name,
            precision,
            size[0],
            size[1],
            decoding,
            encoding);
        worst = Math.max(worst, Math.max(decoding, encoding));
      }
      // Again and mixed, by CUDA graphs and after other sizes: the same bits.
      for (int round = 0; round < 4 * SIZES.length; round++) {
        int i = round < 3 * SIZES.length ? round / 3 : round * 3 % SIZES.length;
        float[] latent = GeneratedDcAe.latent(config.latentChannels(), SIZES[i][0], SIZES[i][1]);
        assertArrayEquals(
            first.get(i),
            engine.decode(latent, SIZES[i][0], SIZES[i][1]),
            Arrays.toString(SIZES[i]) + " in round " + round);
        assertArrayEquals(
            RgbImage.ofPlanes(first.get(i), SIZES[i][0] * f, SIZES[i][1] * f).rgb(),
            engine.decodeImages(List.of(latent), SIZES[i][0], SIZES[i][1]).get(0).image().rgb(),
            Arrays.toString(SIZES[i]) + " as bytes in round " + round);
      }
      if (precision.equals("bf16")) {
        compareWithTorch(config, reference, engine);
      }
    }
    assertTrue(worst < bound, name + " " + precision + ": relative error " + worst);
  }

  /** The error of libtorch's own bf16 on the CPU beside the engine's, where libtorch is there. */
  private void compareWithTorch(DcAeConfig config, LatentCodec reference, LatentCodec engine)
      throws IOException {
    float[] latent = GeneratedDcAe.latent(config.latentChannels(), 5, 6);
    float[] expected = reference.decode(latent, 5, 6);
    double torch;
    try (DcAeCodec codec =
        DcAeCodec.open(
            DcAeFolder.open(GeneratedDcAe.write(folder.resolve("diffusers"), config)),
            new Device("cpu"),
            Precision.BF16,
            DcAeCodec.Limits.STANDARD)) {
      torch = Errors.relative(codec.decode(latent, 5, 6), expected);
    } catch (LinkageError e) {
      System.out.println("  not compared with libtorch's bf16: " + e);
      return;
    }
    double found = Errors.relative(engine.decode(latent, 5, 6), expected);
    System.out.printf(Locale.ROOT, "  bf16 decode 5x6: engine %.2e, libtorch %.2e%n", found, torch);
    assertTrue(found <= 1.5 * torch, found + " against libtorch's " + torch);
  }

  @Test
  void picturesDecodedTogetherAreThoseDecodedAlone() throws Exception {
    DcAeConfig config = config("small");
    Bundle bundle = bundle(config);
    buildHalves(bundle, "f32", "64", "--autoencoder-batch", "3");
    EngineOptions together = new EngineOptions(0, new DecodeOptions(Tiling.STANDARD, 1 << 20));
    try (LatentCodec engine = open(bundle, "tensorrt", together);
        LatentCodec reference = open(bundle, "ort-cpu", WHOLE)) {
      List<float[]> latents = new ArrayList<>();
      for (int i = 0; i < 7; i++) { // in runs of 3, 3 and 1
        float[] latent = GeneratedDcAe.latent(8, 4, 5);
        for (int k = 0; k < latent.length; k++) {
          latent[k] *= 1 - 0.2f * i;
        }
        latents.add(latent);
      }
      List<Decoded> pictures = engine.decodeBatch(latents, 4, 5);
      List<DecodedImage> images = engine.decodeImages(latents, 4, 5);
      for (int i = 0; i < latents.size(); i++) {
        double error =
            Errors.relative(pictures.get(i).rgb(), reference.decode(latents.get(i), 4, 5));
        assertTrue(error < 1e-4, "picture " + i + ": " + error);
        assertArrayEquals(
            RgbImage.ofPlanes(pictures.get(i).rgb(), 4 * 8, 5 * 8).rgb(),
            images.get(i).image().rgb(),
            "picture " + i);
      }
    }
  }

  @Test
  void whatNoProfileHoldsIsDecodedInTilesAndNotEncoded() throws Exception {
    DcAeConfig config = config("small");
    Bundle bundle = bundle(config);
    buildHalves(bundle, "f32", "160");
    EngineOptions standard = EngineOptions.DEFAULT;
    Tiling tiles = standard.decode().tiling().within(160, 8);
    EngineOptions tiled =
        new EngineOptions(
            0, new DecodeOptions(new Tiling(tiles.tile(), tiles.stride(), tiles.margin(), 1), 0));
    try (LatentCodec engine = open(bundle, "tensorrt", standard);
        LatentCodec reference = open(bundle, "ort-cpu", tiled)) {
      float[] latent = GeneratedDcAe.latent(8, 3, 50); // 24x400 pixels
      Decoded found = engine.decodeBatch(List.of(latent), 3, 50).get(0);
      Decoded expected = reference.decodeBatch(List.of(latent), 3, 50).get(0);
      double error = Errors.relative(found.rgb(), expected.rgb());
      System.out.printf(Locale.ROOT, "  %d tiles: %.2e%n", found.tiles(), error);
      assertTrue(found.tiles() > 1);
      assertEquals(expected.tiles(), found.tiles());
      assertTrue(error < 1e-4, "relative error " + error);
      String message =
          assertThrows(CodecException.class, () -> engine.encode(new float[3 * 8 * 400], 8, 400))
              .getMessage();
      System.out.println("  " + message);
      assertTrue(message.contains("expected at most 160x160 of rgb, found 400x8"), message);
      assertEquals(8 * 2 * 3, engine.encode(new float[3 * 16 * 24], 16, 24).length);
    }
  }

  @Test
  void decodingBesideSamplingGivesTheSamePictures() throws Exception {
    String missing = PluginEngines.libraryMissing();
    assumeTrue(missing.isEmpty(), missing);
    DcAeConfig config = config("wide");
    Bundle bundle = bundle(config);
    CapturedRun run = build(bundle, "--buckets", "128,1024", "--autoencoder-sizes", sides(config));
    assertEquals(
        List.of("engine-bf16.plan", "decoder-bf16.plan", "encoder-bf16.plan"),
        run.out().lines().map(line -> Path.of(line).getFileName().toString()).toList());
    for (String plan : run.out().lines().toList()) {
      assertFalse(EngineManifest.read(Path.of(plan)).verification().isEmpty(), plan);
    }
    List<ImageRequest> requests = new ArrayList<>();
    try (NitPipeline pipeline = NitPipeline.builder(bundle.folder()).backend("tensorrt").open();
        LatentCodec alone = open(bundle, "tensorrt", EngineOptions.DEFAULT)) {
      for (int i = 0; i < 24; i++) {
        requests.add(
            pipeline
                .request()
                .label(i % 5)
                .size(32 * (1 + i % 7), 32 * (1 + i * 3 % 20))
                .seed(i)
                .steps(2 + i % 5)
                .build());
      }
      List<CompletableFuture<ImageResult>> futures = new ArrayList<>();
      for (ImageRequest request : requests) {
        futures.add(pipeline.submit(request));
      }
      for (int i = 0; i < futures.size(); i++) {
        ImageResult result = futures.get(i).get();
        float[] latent = result.latent();
        float[] rgb = alone.decode(latent, result.latentHeight(), result.latentWidth());
        ImageResult again = pipeline.submit(requests.get(i)).get(); // nothing beside it
        assertArrayEquals(
            RgbImage.ofPlanes(rgb, requests.get(i).height(), requests.get(i).width()).rgb(),
            result.image().orElseThrow().rgb(),
            requests.get(i).toString());
        assertTrue(Errors.relative(again.latent(), latent) < 5e-2, requests.get(i).toString());
      }
      System.out.println("  " + pipeline.stats());
    }
  }

  @Test
  void sizesComeAndGoAtConstantMemory() throws Exception {
    DcAeConfig config = config("small");
    Bundle bundle = bundle(config);
    build(bundle, "--parts", "decoder", "--autoencoder-sizes", "64,160,320", "--no-verify");
    try (LatentCodec engine = open(bundle, "tensorrt", WHOLE)) {
      engine.decode(GeneratedDcAe.latent(8, 40, 40), 40, 40);
      long free = 0;
      for (int i = 0; i < 600; i++) {
        int h = 1 + i * 7 % 40;
        int w = 1 + i * 11 % 37;
        engine.decode(GeneratedDcAe.latent(8, h, w), h, w);
        if (i == 300) {
          free = Cuda.freeBytes();
        }
      }
      long taken = free - Cuda.freeBytes();
      System.out.printf("  300 more decodes took %d KiB of device memory%n", taken >> 10);
      assertTrue(taken <= 4 << 20, taken + " bytes");
    }
  }

  @Test
  void sizesThatWereMadeReadyHaveTheSameBitsAtOnceAndTakeNoMoreMemory() throws Exception {
    DcAeConfig config = config("wide");
    Bundle bundle = bundle(config);
    build(bundle, "--parts", "decoder", "--autoencoder-sizes", sides(config), "--no-verify");
    List<LatentSize> sizes =
        List.of(new LatentSize(8, 8), new LatentSize(5, 7), new LatentSize(20, 20));
    List<float[]> expected = new ArrayList<>();
    try (LatentCodec plain = open(bundle, "tensorrt", WHOLE)) {
      for (LatentSize size : sizes) {
        expected.add(timed("as it is", plain, config, size));
        timed("as it is", plain, config, size);
        timed("as it is", plain, config, size);
      }
    }
    try (LatentCodec ready = open(bundle, "tensorrt", WHOLE)) {
      try (Hoard hoard = new Hoard(0)) {
        String message = assertThrows(CodecException.class, () -> ready.warmUp(sizes)).getMessage();
        System.out.println("  " + message);
        assertTrue(message.contains("8x8, 7x5, 20x20"), message);
        assertTrue(message.contains(" MiB of device memory"), message);
      }
      long start = System.nanoTime();
      assertEquals(sizes.size(), ready.warmUp(sizes));
      System.out.printf("  made ready in %d ms%n", (System.nanoTime() - start) / 1_000_000);
      assertEquals(sizes.size(), ready.warmUp(sizes), "again");
      long free = Cuda.freeBytes();
      for (int round = 0; round < 3; round++) {
        for (int i = 0; i < sizes.size(); i++) {
          assertArrayEquals(
              expected.get(i), timed("made ready", ready, config, sizes.get(i)), "" + sizes.get(i));
        }
      }
      long taken = free - Cuda.freeBytes();
      System.out.printf("  the decodes took %d KiB of device memory%n", taken >> 10);
      assertTrue(taken <= 4 << 20, taken + " bytes");
    }
    try (LatentCodec standard = open(bundle, "tensorrt", WHOLE)) {
      assertEquals(1, standard.warmUp(List.of()), "the largest of the smallest profile");
      assertArrayEquals(
          expected.get(0), timed("made ready unasked", standard, config, sizes.get(0)));
    }
  }

  private static float[] timed(String how, LatentCodec codec, DcAeConfig config, LatentSize size) {
    float[] latent = GeneratedDcAe.latent(config.latentChannels(), size.h(), size.w());
    long start = System.nanoTime();
    float[] rgb = codec.decode(latent, size.h(), size.w());
    System.out.printf(
        Locale.ROOT,
        "  %s: %dx%d in %.2f ms%n",
        how,
        size.w(),
        size.h(),
        (System.nanoTime() - start) / 1e6);
    return rgb;
  }

  /** A bundle with engines for pictures; skips the test where there is no library for the model. */
  private Bundle withModelAndDecoder(DcAeConfig config) throws Exception {
    String missing = PluginEngines.libraryMissing();
    assumeTrue(missing.isEmpty(), missing);
    Bundle bundle = bundle(config);
    build(
        bundle,
        "--parts",
        "model,decoder",
        "--buckets",
        "1024",
        "--autoencoder-sizes",
        sides(config),
        "--no-verify");
    return bundle;
  }

  @Test
  void aPipelineThatWasWarmedUpMakesItsFirstPictureOfASizeAsItMakesTheNext() throws Exception {
    DcAeConfig config = config("wide");
    Bundle bundle = withModelAndDecoder(config);
    int side = 8 * config.factor();
    byte[] first = null;
    for (boolean warm : new boolean[] {false, true}) {
      NitPipeline.Builder builder = NitPipeline.builder(bundle.folder()).backend("tensorrt");
      try (NitPipeline pipeline = (warm ? builder.warmUp(side, side) : builder).open()) {
        ImageRequest request =
            pipeline.request().label(0).size(side, side).seed(3).steps(4).build();
        for (int i = 0; i < 4; i++) {
          ImageResult result = pipeline.submit(request).get();
          System.out.printf(
              Locale.ROOT,
              "  %s, picture %d: sampling %.2f ms, decode %.2f ms%n",
              warm ? "warmed up" : "as it is",
              i + 1,
              result.samplingSeconds() * 1e3,
              result.decodingSeconds() * 1e3);
          byte[] rgb = result.image().orElseThrow().rgb();
          first = first == null ? rgb : first;
          assertArrayEquals(first, rgb, "picture " + i);
        }
      }
    }
  }

  @Test
  void withoutMemoryADecodeInALargerProfileFailsWithItsMiBAndWorksLater() throws Exception {
    DcAeConfig config = config("wide");
    Bundle bundle = bundle(config);
    build(bundle, "--parts", "decoder", "--autoencoder-sizes", sides(config), "--no-verify");
    int large = 20; // cells a side, in the second profile
    try (LatentCodec engine = open(bundle, "tensorrt", WHOLE);
        LatentCodec fresh = open(bundle, "tensorrt", WHOLE)) {
      float[] small = GeneratedDcAe.latent(config.latentChannels(), 4, 5);
      float[] latent = GeneratedDcAe.latent(config.latentChannels(), large, large);
      float[] expectedSmall = engine.decode(small, 4, 5);
      float[] expected = fresh.decode(latent, large, large);
      fresh.close();
      String message;
      try (Hoard hoard = new Hoard(0)) {
        message =
            assertThrows(CodecException.class, () -> engine.decode(latent, large, large))
                .getMessage();
      }
      System.out.println("  " + message);
      assertTrue(message.contains("20x20") && message.contains(" MiB of device memory"), message);
      assertArrayEquals(expectedSmall, engine.decode(small, 4, 5), "the small one, afterwards");
      assertArrayEquals(expected, engine.decode(latent, large, large), "the large one, afterwards");
    }
  }

  @Test
  void withoutMemoryAPipelinesRequestFailsInItsDecodeAndTheNextOnesWork() throws Exception {
    DcAeConfig config = config("wide");
    Bundle bundle = withModelAndDecoder(config);
    try (NitPipeline pipeline = NitPipeline.builder(bundle.folder()).backend("tensorrt").open()) {
      int factor = config.factor();
      ImageRequest small =
          pipeline.request().label(0).size(4 * factor, 4 * factor).seed(1).steps(2).build();
      ImageRequest large =
          pipeline.request().label(0).size(20 * factor, 20 * factor).seed(2).steps(2).build();
      byte[] expected = pipeline.submit(small).get().image().orElseThrow().rgb();
      String message;
      try (Hoard hoard = new Hoard(0)) {
        message =
            assertThrows(ExecutionException.class, () -> pipeline.submit(large).get())
                .getCause()
                .getMessage();
      }
      System.out.println("  " + message);
      assertTrue(message.contains(" MiB"), message);
      assertArrayEquals(expected, pipeline.submit(small).get().image().orElseThrow().rgb());
      assertEquals(
          3 * 20 * factor * 20 * factor,
          pipeline.submit(large).get().image().orElseThrow().rgb().length);
    }
  }

  @Test
  void plansOfOtherWeightsAndCutPlansAreRefusedAndAutoGoesOnWithoutThem() throws Exception {
    DcAeConfig config = config("small");
    Bundle bundle = bundle(config);
    build(bundle, "--parts", "decoder", "--autoencoder-sizes", "64", "--no-verify");
    Path plan = bundle.folder().resolve("decoder-bf16.plan");
    Path manifest = EngineManifest.fileOf(plan);
    String text = Files.readString(manifest);
    String hash = EngineManifest.read(plan).modelSha256();
    Files.writeString(manifest, text.replace(hash, "another"));
    String message =
        assertThrows(EngineException.class, () -> open(bundle, "tensorrt", WHOLE)).getMessage();
    assertTrue(
        message.contains("model.sha256: expected another, found " + hash)
            && message.contains("--parts decoder --autoencoder-precision bf16"),
        message);
    float[] latent = GeneratedDcAe.latent(8, 2, 2);
    float[] expected;
    try (LatentCodec next = open(bundle, "auto", WHOLE)) {
      expected = next.decode(latent, 2, 2);
    }
    Files.writeString(manifest, text);
    try (LatentCodec engine = open(bundle, "auto", WHOLE)) {
      double error = Errors.relative(engine.decode(latent, 2, 2), expected);
      assertTrue(error > 0 && error < 1e-1, "the engine's own picture: " + error);
      float[] rgb = GeneratedDcAe.image(16, 16); // without an encoder's engine: elsewhere
      assertEquals(8 * 2 * 2, engine.encode(rgb, 16, 16).length);
    }
    try (LatentCodec engine = open(bundle, "tensorrt", WHOLE)) {
      message =
          assertThrows(
                  UnsupportedOperationException.class,
                  () -> engine.encode(GeneratedDcAe.image(16, 16), 16, 16))
              .getMessage();
      assertTrue(message.contains("--parts encoder"), message);
    }
    byte[] bytes = Files.readAllBytes(plan);
    Files.write(plan, Arrays.copyOf(bytes, bytes.length / 2));
    message =
        assertThrows(EngineException.class, () -> open(bundle, "tensorrt", WHOLE)).getMessage();
    assertTrue(message.contains("plan.bytes: expected " + bytes.length), message);
    Files.writeString(
        manifest, text.replace("" + bytes.length, "" + bytes.length / 2)); // cut, and said so
    message =
        assertThrows(EngineException.class, () -> open(bundle, "tensorrt", WHOLE)).getMessage();
    System.out.println("  cut in half: " + message);
    assertTrue(
        message.contains("does not take this plan")
            && message.contains("plan.sha256: expected ")
            && message.contains("Build it again with: nit-export engine "),
        message);
    Files.write(plan, bytes);
    Files.writeString(manifest, text.replace("\"side\" : 64", "\"side\" : 128"));
    message =
        assertThrows(EngineException.class, () -> open(bundle, "tensorrt", WHOLE)).getMessage();
    System.out.println("  another size: " + message);
    assertTrue(
        message.contains(
            "profiles: expected 1 of up to 128 pixels a side, found 1 of up to 64 pixels a side"),
        message);
  }
}
