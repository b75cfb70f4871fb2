package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.Tiling;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Half;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Parity;
import io.nit.core.tensor.TensorSpec;
import io.nit.core.trt.Cuda;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.ImageResult;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.cli.Run;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.runtime.ort.OrtEngine;
import io.nit.testing.CapturedRun;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.PlainBundle;
import io.nit.testing.SyntheticWeights;
import io.nit.tests.bench.RandomWeights;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.TestInfo;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The backend {@code ort-cuda}: model, autoencoder, choice of backends and faults, on a GPU. */
@Tag("gpu")
@Timeout(value = 300, threadMode = Timeout.ThreadMode.SEPARATE_THREAD)
class OrtCudaGpuTest {
  private static final String CUDA = "ort-cuda";
  private static final EngineOptions WHOLE =
      new EngineOptions(0, new DecodeOptions(new Tiling(1 << 15, 1 << 15, Long.MAX_VALUE), 0));
  private static final NitConfig TINY =
      PluginEngines.TINY.with(Map.of("in_channels", GeneratedDcAe.small().latentChannels()));
  private static final long MIB = 1L << 20;

  private static final List<PackLayout> PACKS =
      List.of(
          PackLayout.of(new int[] {3, 1}, new int[] {5, 1}),
          PackLayout.of(new int[] {16}, new int[] {16}), // as long as the kernel is told at least
          PackLayout.of(new int[] {3, 1, 26, 7}, new int[] {5, 1, 21, 2}),
          PackLayout.of(new int[] {13, 32}, new int[] {5, 25}),
          PackLayout.of(new int[] {1}, new int[] {1}),
          PackLayout.of(new int[] {8, 1, 1, 17, 40, 2}, new int[] {8, 1, 9, 15, 11, 3}));

  @TempDir static Path shared;

  /** A model and an autoencoder, of single precision. */
  private static Bundle bundle;

  @TempDir Path folder;
  private int runs;

  @BeforeAll
  static void needsAGpuAndOnnxRuntimesCudaBuild() throws IOException {
    bundle = bundle(shared.resolve("bundle"), GeneratedDcAe.small(), DType.F32);
    PluginEngines.skipIf(refusal(CUDA), OrtCudaGpuTest.class);
  }

  @AfterEach
  void theDefaultAgain(TestInfo test) {
    System.clearProperty(OrtEngine.ATTENTION);
    System.out.printf(
        "  after %s: %d MiB of device memory free%n",
        test.getDisplayName(), Cuda.freeBytes() / MIB);
  }

  private static String refusal(String backend) {
    return Engines.providers().stream()
        .filter(provider -> provider.name().equals(backend))
        .findFirst()
        .map(provider -> provider.refusal(bundle, EngineOptions.DEFAULT).orElse(""))
        .orElse("no such backend");
  }

  private static Bundle bundle(Path folder, DcAeConfig autoencoder, DType storage)
      throws IOException {
    NitConfig model = TINY.with(Map.of("in_channels", autoencoder.latentChannels()));
    return LearnedBundles.write(
        folder,
        model,
        new SyntheticWeights(model, false),
        autoencoder,
        new GeneratedDcAe(autoencoder),
        storage,
        4096,
        true);
  }

  private static VelocityEngine open(Path model, NitConfig config, String attention)
      throws IOException, EngineException {
    System.setProperty(OrtEngine.ATTENTION, attention);
    return Engines.open(PlainBundle.write(model, config, 1 << 16), CUDA, EngineOptions.DEFAULT);
  }

  private static float[] forward(VelocityEngine engine, PackLayout layout) throws EngineException {
    return forward(engine, VerificationPack.of(engine.config(), layout).inputs());
  }

  private static float[] forward(VelocityEngine engine, ForwardInputs in) throws EngineException {
    FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
    engine.forward(in, v);
    return v.array();
  }

  // ------------------------------------------------------------------ velocities

  @ParameterizedTest
  @CsvSource({
    "head_dim72, F32, packed",
    "head_dim72, F32, function",
    "head_dim72, F16, packed",
    "head_dim72, BF16, packed",
    "head_dim64, F32, packed",
    "head_dim24, F32, packed",
    "head_dim12, F32, packed",
    "no_qk_norm, F32, packed",
    "patch2_lora, F16, packed",
    "patch2_lora, F16, function"
  })
  void theVelocitiesAreThePlainForwards(String variant, DType storage, String attention)
      throws Exception {
    NitConfig config =
        switch (variant) {
          case "head_dim64" -> TINY.with(Map.of("hidden_size", 128));
          case "head_dim24" -> TINY.with(Map.of("hidden_size", 48));
          case "head_dim12" -> TINY.with(Map.of("hidden_size", 24)); // not for the packed kernel
          case "no_qk_norm" -> TINY.with(Map.of("qk_norm", false));
          case "patch2_lora" ->
              TINY.with(Map.of("patch_size", 2, "use_adaln_lora", true, "adaln_lora_dim", 8));
          default -> TINY;
        };
    TensorSource weights = new Rounded(new SyntheticWeights(config, false), storage);
    Path model = model(config, weights, storage, OnnxFile.EXTERNAL_DATA_ABOVE);
    double worst = 0;
    double worstOfCpu = 0;
    try (ReferenceEngine reference = ReferenceEngine.open(weights, config);
        VelocityEngine cpu =
            Engines.open(PlainBundle.write(model, config, 4096), "ort-cpu", EngineOptions.DEFAULT);
        VelocityEngine engine = open(model, config, attention)) {
      System.out.printf("  %s %s: %s%n", variant, storage, engine.description());
      assertEquals(
          attention.equals("packed") && !variant.equals("head_dim12"),
          engine.description().endsWith("packed attention"));
      for (PackLayout layout : PACKS) {
        float[] expected = forward(reference, layout);
        double error = Errors.relative(forward(engine, layout), expected);
        double ofCpu = Errors.relative(forward(cpu, layout), expected);
        System.out.printf(
            Locale.ROOT,
            "  %s %s %s %s: relative error %.2e (ort-cpu %.2e)%n",
            variant,
            storage,
            attention,
            layout,
            error,
            ofCpu);
        worst = Math.max(worst, error);
        worstOfCpu = Math.max(worstOfCpu, ofCpu);
      }
    }
    assertTrue(worst < 1e-4, variant + " " + storage + ": relative error " + worst);
    assertTrue(worstOfCpu < 1e-4, "ort-cpu: relative error " + worstOfCpu);
  }

  @Test
  void weightsInAFileBesideTheModelAreFoundWhenTheModelIsChanged() throws Exception {
    TensorSource weights = new SyntheticWeights(TINY, false);
    Path model = model(TINY, weights, DType.F32, 0);
    assertTrue(Files.exists(model.resolveSibling("model.onnx.data")));
    try (ReferenceEngine reference = ReferenceEngine.open(weights, TINY);
        VelocityEngine engine = open(model, TINY, "packed")) {
      double error =
          Errors.relative(forward(engine, PACKS.get(2)), forward(reference, PACKS.get(2)));
      System.out.printf(Locale.ROOT, "  relative error %.2e%n", error);
      assertTrue(error < 1e-4, "relative error " + error);
    }
  }

  @Test
  void weightsInTheModelAreFoundThroughALinkToIt() throws Exception {
    TensorSource weights = new Rounded(new SyntheticWeights(TINY, false), DType.BF16);
    Path model = model(TINY, weights, DType.BF16, OnnxFile.EXTERNAL_DATA_ABOVE);
    Path link = Files.createDirectory(folder.resolve("links")).resolve("linked.onnx");
    Files.createSymbolicLink(link, model);
    try (ReferenceEngine reference = ReferenceEngine.open(weights, TINY);
        VelocityEngine engine = open(link, TINY, "packed")) {
      double error =
          Errors.relative(forward(engine, PACKS.get(2)), forward(reference, PACKS.get(2)));
      System.out.printf(Locale.ROOT, "  relative error %.2e%n", error);
      assertTrue(error < 1e-4, "relative error " + error);
    }
  }

  private Path model(NitConfig config, TensorSource weights, DType storage, long externalAbove)
      throws IOException {
    return OnnxFile.write(
            new NitGraph(config, storage),
            weights,
            folder.resolve("model.onnx"),
            externalAbove,
            bytes -> {})
        .model();
  }

  /** Weights as they come back from a type that they are stored in, for the plain forward. */
  private static final class Rounded implements TensorSource {
    private final TensorSource weights;
    private final DType storage;

    Rounded(TensorSource weights, DType storage) {
      this.weights = weights;
      this.storage = storage;
    }

    @Override
    public Map<String, TensorSpec> specs() {
      return weights.specs();
    }

    @Override
    public Map<String, String> metadata() {
      return weights.metadata();
    }

    @Override
    public HostTensor tensor(String name) throws IOException {
      float[] values = weights.tensor(name).toFloats();
      for (int i = 0; i < values.length; i++) {
        values[i] =
            switch (storage) {
              case F16 -> Half.fp16ToFloat(Half.floatToFp16(values[i]));
              case BF16 -> Half.bf16ToFloat(Half.floatToBf16(values[i]));
              default -> values[i];
            };
      }
      return HostTensor.of(name, values, specs().get(name).shape().dims());
    }

    @Override
    public String where() {
      return weights.where() + " in " + storage;
    }

    @Override
    public void close() {}
  }

  // ------------------------------------------------------------------ pictures

  @Test
  void aSeedGivesTheSamePictureInEveryPack() throws Exception {
    try (NitPipeline pipeline = NitPipeline.builder(bundle.folder()).backend(CUDA).open()) {
      List<ImageRequest> requests = new ArrayList<>();
      for (int i = 0; i < 9; i++) {
        requests.add(
            pipeline
                .request()
                .label(i % 5)
                .size(8 * (1 + i * 5 % 24), 8 * (2 + i * 3 % 20))
                .seed(100 + i)
                .steps(4 + i % 3)
                .guidance(new Guidance(2, 0, 0.7))
                .build());
      }
      List<ImageResult> alone = new ArrayList<>();
      for (ImageRequest request : requests) {
        alone.add(pipeline.submit(request).get());
      }
      List<CompletableFuture<ImageResult>> together = new ArrayList<>();
      for (ImageRequest request : requests) {
        together.add(pipeline.submit(request));
      }
      double worst = 0;
      double lowest = Double.POSITIVE_INFINITY;
      for (int i = 0; i < requests.size(); i++) {
        ImageResult among = together.get(i).get();
        double latent = Parity.of(among.latent(), alone.get(i).latent()).relative();
        double psnr =
            Parity.psnr(
                among.image().orElseThrow().rgb(), alone.get(i).image().orElseThrow().rgb());
        System.out.printf(
            Locale.ROOT,
            "  %dx%d: latents differ by %.2e, PSNR %.1f dB%n",
            requests.get(i).width(),
            requests.get(i).height(),
            latent,
            psnr);
        worst = Math.max(worst, latent);
        lowest = Math.min(lowest, psnr);
      }
      System.out.println("  " + pipeline.stats());
      // Products of other sizes add up in another order, which shows in last bits alone.
      assertTrue(worst < 1e-4, "latents differ by " + worst);
      assertTrue(lowest > 50, "PSNR " + lowest + " dB");
    }
  }

  // ------------------------------------------------------------------ choice of backends

  private CapturedRun nitRun(String... words) {
    CapturedRun run = CapturedRun.of(new Run(), (Object[]) words);
    System.out.printf("  nit-run %s: exit code %d%n", String.join(" ", words), run.code());
    System.out.println(run.err().indent(4) + run.out().indent(4));
    return run;
  }

  private CapturedRun sample(String... more) {
    List<String> words = new ArrayList<>();
    Collections.addAll(words, "--bundle", bundle.folder().toString(), "--output");
    words.add(folder.resolve("out-" + runs++).toString()); // what is there is not made again
    Collections.addAll(words, "--label", "1", "--size", "64x48", "--steps", "2");
    Collections.addAll(words, more);
    return nitRun(words.toArray(String[]::new));
  }

  @Test
  void autoTakesOrtCudaWhereThereIsNoEngineAndSaysWhyInOneLine() {
    CapturedRun run = sample();
    assertEquals(0, run.code(), run.err());
    // One for the model, one for the autoencoder.
    assertEquals(2, run.err().split("backend ort-cuda \\(auto\\)", -1).length - 1, run.err());
    assertEquals(1, run.err().split("tensorrt passed over: ", -1).length - 1, run.err());
  }

  @Test
  void aNamedBackendIsUsedOrFailsAndNoOtherIsTaken() {
    CapturedRun run = sample("--backend", CUDA);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("backend ort-cuda (asked for)"), run.err());

    run = sample("--backend", "tensorrt");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("backend tensorrt cannot run"), run.err());
    assertFalse(run.err().contains("backend ort-"), run.err());

    run = sample("--backend", CUDA, "--device", "99");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.err().contains("CUDA device 99"), run.err());
    assertFalse(run.err().contains("backend ort-cpu"), run.err());

    run = sample("--backend", "cuda");
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("expected auto or one of"), run.err());
  }

  @Test
  void compareRunsEveryBackendThatIsThere() throws Exception {
    CapturedRun run = nitRun("compare", "--bundle", bundle.folder().toString(), "--bound", "1e-4");
    assertEquals(0, run.code(), run.err());
    for (EngineProvider provider : Engines.providers()) {
      boolean compared = provider.preference() != EngineProvider.BY_NAME_ONLY;
      assertEquals(compared, run.out().contains(provider.name() + ": "), run.out());
    }
    assertTrue(run.out().contains("ort-cuda: relative error"), run.out());
    assertEquals(0, nitRun("info", "--bundle", bundle.folder().toString()).code(), "nit-run info");
  }

  // ------------------------------------------------------------------ autoencoder

  @ParameterizedTest
  @ValueSource(strings = {"F32", "F16"})
  void picturesAndLatentsAreThoseOfTheCpu(DType storage) throws Exception {
    DcAeConfig config = GeneratedDcAe.small();
    Bundle stored = bundle(folder.resolve("stored"), config, storage);
    int f = config.factor();
    double worst = 0;
    try (LatentCodec gpu = Engines.openCodec(stored, CUDA, WHOLE).orElseThrow();
        LatentCodec cpu = Engines.openCodec(stored, "ort-cpu", WHOLE).orElseThrow()) {
      for (int[] size : new int[][] {{1, 1}, {3, 5}, {8, 8}, {2, 7}, {20, 2}, {20, 20}, {3, 5}}) {
        float[] latent = GeneratedDcAe.latent(config.latentChannels(), size[0], size[1]);
        long start = System.nanoTime();
        float[] picture = gpu.decode(latent, size[0], size[1]);
        double first = (System.nanoTime() - start) / 1e6;
        start = System.nanoTime();
        assertEquals(
            0, Errors.relative(gpu.decode(latent, size[0], size[1]), picture), 1e-6, "again");
        double second = (System.nanoTime() - start) / 1e6;
        double decoding = Errors.relative(picture, cpu.decode(latent, size[0], size[1]));
        float[] rgb = GeneratedDcAe.image(size[0] * f, size[1] * f);
        double encoding =
            Errors.relative(
                gpu.encode(rgb, size[0] * f, size[1] * f),
                cpu.encode(rgb, size[0] * f, size[1] * f));
        System.out.printf(
            Locale.ROOT,
            "  %s %s: decode %.2e (%.1f ms, again %.1f ms), encode %.2e%n",
            storage,
            Arrays.toString(size),
            decoding,
            first,
            second,
            encoding);
        worst = Math.max(worst, Math.max(decoding, encoding));
      }
    }
    assertTrue(worst < 1e-4, "relative error " + worst);
  }

  @Test
  void thePlanesOfALargePictureAreGivenBack() throws Exception {
    try (LatentCodec gpu = Engines.openCodec(bundle, CUDA, WHOLE).orElseThrow()) {
      gpu.decode(GeneratedDcAe.latent(8, 2, 2), 2, 2);
      long before = Cuda.freeBytes();
      for (int side : new int[] {64, 128, 96, 31, 130}) {
        gpu.decode(GeneratedDcAe.latent(8, side, side), side, side);
        System.out.printf(
            "  after %d x %d pixels: %d MiB more than before%n",
            8 * side, 8 * side, (before - Cuda.freeBytes()) / MIB);
      }
      // cuBLAS and cuDNN keep workspaces of their own.
      assertTrue(before - Cuda.freeBytes() < 256 * MIB);
    }
  }

  // ------------------------------------------------------------------ memory and faults

  @Test
  void sizesComeAndGoAtConstantMemory() throws Exception {
    try (VelocityEngine engine = Engines.open(bundle, CUDA, EngineOptions.DEFAULT)) {
      forward(engine, PackLayout.of(new int[] {40, 40}, new int[] {40, 39}));
      long opened = Cuda.freeBytes();
      long half = 0;
      for (int i = 0; i < 200; i++) {
        int images = 1 + i * 5 % 7;
        int[] h = new int[images];
        int[] w = new int[images];
        for (int k = 0; k < images; k++) {
          h[k] = 1 + (i * 7 + k * 3) % 20;
          w[k] = 1 + (i * 11 + k * 5) % 21;
        }
        forward(engine, PackLayout.of(h, w));
        if (i == 99) {
          half = Cuda.freeBytes();
        }
      }
      long first = opened - half;
      long second = half - Cuda.freeBytes();
      System.out.printf(
          "  device memory: 100 forwards took %d KiB more than the largest, 100 more %d KiB%n",
          first >> 10, second >> 10);
      assertTrue(second <= 16 * MIB, second + " bytes");
      engine.close();
      engine.close();
      assertThrows(IllegalStateException.class, () -> forward(engine, PACKS.get(0)));
    }
  }

  @Test
  void withoutMemoryARequestFailsWithAMessageAndThePipelineGoesOn() throws Exception {
    try (NitPipeline pipeline = NitPipeline.builder(bundle.folder()).backend(CUDA).open()) {
      ImageRequest small = pipeline.request().label(0).size(64, 64).seed(1).steps(2).build();
      // The largest that the token budget of 4096 takes, which is without guidance.
      ImageRequest large =
          pipeline
              .request()
              .label(0)
              .size(512, 512)
              .seed(1)
              .steps(2)
              .guidance(Guidance.NONE)
              .build();
      float[] expected = pipeline.submit(small).get().latent();
      String message;
      try (Hoard hoard = new Hoard(0)) {
        message =
            assertThrows(ExecutionException.class, () -> pipeline.submit(large).get())
                .getCause()
                .getMessage();
      }
      System.out.println("  " + message);
      assertTrue(message.contains("out of memory"), message);
      double error = Parity.of(pipeline.submit(small).get().latent(), expected).relative();
      assertTrue(error < 1e-5, "relative difference " + error);
      assertEquals(8 * 64 * 64, pipeline.submit(large).get().latent().length);
    }
  }

  @Test
  void withoutMemoryADecodeAndAnOpeningFailWithAMessageAndGoOnLater() throws Exception {
    float[] latent = GeneratedDcAe.latent(8, 64, 64);
    try (LatentCodec codec = Engines.openCodec(bundle, CUDA, WHOLE).orElseThrow()) {
      try (Hoard hoard = new Hoard(0)) {
        String message =
            assertThrows(CodecException.class, () -> codec.decode(latent, 64, 64)).getMessage();
        System.out.println("  " + message);
        assertTrue(message.contains("out of memory"), message);
        try (VelocityEngine engine = Engines.open(bundle, CUDA, EngineOptions.DEFAULT)) {
          System.out.println("  a small model was opened without memory");
        } catch (EngineException e) {
          System.out.println("  opening: " + e.getMessage());
        }
      }
      assertEquals(3 * 512 * 512, codec.decode(latent, 64, 64).length);
      codec.close();
      codec.close();
    }
    try (VelocityEngine engine = Engines.open(bundle, CUDA, EngineOptions.DEFAULT)) {
      forward(engine, PACKS.get(2));
    }
  }

  // ------------------------------------------------------------------ time

  @ParameterizedTest
  @ValueSource(strings = {"NiT-B", "NiT-XL"})
  void theTimeOfAForward(String preset) throws Exception {
    NitConfig config = NitConfig.PRESETS.get(preset);
    long start = System.nanoTime();
    Path model = model(config, new RandomWeights(config), DType.BF16, OnnxFile.EXTERNAL_DATA_ABOVE);
    System.out.printf(
        Locale.ROOT, "  %s written in %.1f s%n", preset, (System.nanoTime() - start) / 1e9);
    List<PackLayout> packs =
        List.of(
            PackLayout.of(new int[] {16, 16}, new int[] {16, 16}), // 512 tokens
            PackLayout.of(new int[] {32, 16, 24, 8, 64, 16}, new int[] {32, 16, 16, 24, 64, 48}));
    List<float[]> packed = new ArrayList<>();
    for (String attention : new String[] {"packed", "function"}) {
      long free = Cuda.freeBytes();
      start = System.nanoTime();
      try (VelocityEngine engine = open(model, config, attention)) {
        System.out.printf(
            Locale.ROOT,
            "  %s: %s, opened in %.1f s, %d MiB%n",
            preset,
            engine.description(),
            (System.nanoTime() - start) / 1e9,
            (free - Cuda.freeBytes()) / MIB);
        for (int i = 0; i < packs.size(); i++) {
          ForwardInputs in = VerificationPack.of(config, packs.get(i)).inputs();
          float[] v = forward(engine, in);
          if (attention.equals("packed")) {
            packed.add(v);
          } else {
            double error = Errors.relative(packed.get(i), v);
            System.out.printf(Locale.ROOT, "  packed against function: %.2e%n", error);
            assertTrue(error < 1e-4, "packed against function: " + error);
          }
          // The local function of a large model takes seconds, and is timed for its order alone.
          boolean slow = preset.equals("NiT-XL") && attention.equals("function");
          double[] millis = new double[slow ? 3 : i == 0 ? 20 : 5];
          for (int k = slow ? 0 : -2; k < millis.length; k++) {
            start = System.nanoTime();
            forward(engine, in);
            if (k >= 0) {
              millis[k] = (System.nanoTime() - start) / 1e6;
            }
          }
          Arrays.sort(millis);
          System.out.printf(
              Locale.ROOT,
              "  %s, %s attention, %d tokens in %d images: %.2f ms a forward (least %.2f), %d MiB%n",
              preset,
              attention,
              packs.get(i).tokens(),
              packs.get(i).images(),
              millis[millis.length / 2],
              millis[0],
              (free - Cuda.freeBytes()) / MIB);
        }
      }
    }
  }
}
