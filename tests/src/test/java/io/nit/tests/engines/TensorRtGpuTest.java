package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.ops.NitOps;
import io.nit.core.oracle.ForwardOracle;
import io.nit.core.packing.PackLayout;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.PlanLayers;
import io.nit.core.trt.TensorRtException;
import io.nit.exporter.cli.Export;
import io.nit.exporter.testing.SyntheticModel;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.EngineBuilder;
import io.nit.exporter.trt.TrtModel;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.cli.Run;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.runtime.trt.TensorRtEngine;
import io.nit.testing.CapturedRun;
import io.nit.testing.Errors;
import io.nit.testing.PlainBundle;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.attribute.FileTime;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import java.util.function.Consumer;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** From an exported ONNX file to an engine and its velocities, against the plain Java forward. */
@Tag("gpu")
class TensorRtGpuTest {
  private static final NitConfig TINY = PluginEngines.TINY;

  // 16 and 64 tokens for the first bucket, others for the second; short and long images mixed.
  private static final List<PackLayout> PACKS =
      List.of(
          PackLayout.of(new int[] {3, 1}, new int[] {5, 1}),
          PackLayout.of(new int[] {8}, new int[] {8}),
          PackLayout.of(new int[] {3, 1, 26, 7}, new int[] {5, 1, 21, 2}),
          PackLayout.of(new int[] {13, 32}, new int[] {5, 25}),
          PackLayout.of(new int[] {1}, new int[] {1}));

  /** Kernels are timed once for all tests. */
  @TempDir static Path shared;

  private static PluginLibrary plugins;

  @TempDir Path folder;

  @BeforeAll
  static void needsAGpuTensorRtAndTheLibrary() throws IOException {
    plugins = PluginEngines.require(TensorRtGpuTest.class);
  }

  private TrtModel model(NitConfig config, DType precision, BuildOptions options)
      throws IOException {
    Path exported = SyntheticModel.write(config, folder.resolve("bundle"));
    // Weights beside the model, as those of large models are.
    return TrtModel.write(
        exported, precision, options.packPlans(), folder.resolve("trt/model.onnx"), 0, bytes -> {});
  }

  private static BuildOptions twoBuckets() {
    return new BuildOptions(
        0, List.of(64, 1024), 256, 1L << 30, 3, Optional.of(shared.resolve("timings")));
  }

  private EngineBuilder.Built build(NitConfig config, DType precision, BuildOptions options)
      throws Exception {
    return build(config, precision, options, line -> {});
  }

  private EngineBuilder.Built build(
      NitConfig config, DType precision, BuildOptions options, Consumer<String> lines)
      throws Exception {
    EngineBuilder.Built built =
        EngineBuilder.build(
            model(config, precision, options),
            Optional.of(plugins),
            options,
            folder.resolve("engine.plan"),
            line -> {
              System.out.println("  " + line);
              lines.accept(line);
            });
    for (PlanLayers layers : built.layers()) {
      System.out.printf("  a plan of %d layers, plugins %s%n", layers.layers(), layers.plugins());
    }
    System.out.printf(
        Locale.ROOT,
        "  %s: built in %.1f s, opened in %.2f s, %d KiB%n",
        precision,
        built.buildSeconds(),
        built.openSeconds(),
        built.bytes() >> 10);
    return built;
  }

  private static TensorRtEngine open(EngineBuilder.Built built, NitConfig config)
      throws IOException, EngineException {
    return TensorRtEngine.open(
        built.plan(), config, Optional.of(plugins), TensorRtEngine.Options.DEFAULT);
  }

  /** Packs of up to 512 tokens in a plan of their own. */
  private static BuildOptions twoPlans() {
    return new BuildOptions(
            0, List.of(512, 4096), 256, 1L << 30, 3, Optional.of(shared.resolve("timings")))
        .withSmallPlan(true);
  }

  /** Packs for both plans, and for the ends of their buckets. */
  private static List<PackLayout> packsOfBothPlans() {
    List<PackLayout> all = new ArrayList<>(PACKS);
    all.add(PackLayout.of(new int[] {16, 16}, new int[] {16, 16})); // 512 tokens
    all.add(PackLayout.of(new int[] {19, 5}, new int[] {27, 1})); // 518
    all.add(PackLayout.of(new int[] {40, 7, 1}, new int[] {50, 7, 1})); // 2050
    all.add(PackLayout.of(new int[] {64}, new int[] {34})); // 2176
    return all;
  }

  private static float[] forward(VelocityEngine engine, PackLayout layout) throws EngineException {
    ForwardInputs in = VerificationPack.of(engine.config(), layout).inputs();
    FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
    engine.forward(in, v);
    return v.array();
  }

  @ParameterizedTest
  @CsvSource({
    "head_dim72, BF16, 3e-2",
    "head_dim72, F16, 4e-3",
    "head_dim64, BF16, 3e-2",
    "head_dim24, BF16, 3e-2",
    "no_qk_norm, BF16, 3e-2",
    "patch2_lora, BF16, 3e-2",
    "head_dim72, F32, 1e-4",
    "patch2_lora, F32, 1e-4"
  })
  void theVelocitiesAreTheReferences(String variant, DType precision, double bound)
      throws Exception {
    NitConfig config =
        switch (variant) {
          case "head_dim64" -> TINY.with(Map.of("hidden_size", 128));
          case "head_dim24" -> TINY.with(Map.of("hidden_size", 48));
          case "no_qk_norm" -> TINY.with(Map.of("qk_norm", false));
          case "patch2_lora" ->
              TINY.with(Map.of("patch_size", 2, "use_adaln_lora", true, "adaln_lora_dim", 8));
          default -> TINY;
        };
    EngineBuilder.Built built = build(config, precision, twoBuckets());
    boolean fused = precision != DType.F32;
    assertEquals(
        fused,
        built
            .layers()
            .get(0)
            .plugins()
            .keySet()
            .containsAll(
                List.of(
                    "NitVarlenAttention", "NitQkNormRope2d", "NitPackedAdaLn", "NitGatedAdaLn")),
        built.layers().get(0).plugins().toString());
    try (ReferenceEngine reference =
            ReferenceEngine.open(new SyntheticWeights(config, false), config);
        TensorRtEngine engine = open(built, config)) {
      double worst = 0;
      for (PackLayout layout : PACKS) {
        double error = Errors.relative(forward(engine, layout), forward(reference, layout));
        System.out.printf(
            Locale.ROOT, "  %s %s %s: relative error %.2e%n", variant, precision, layout, error);
        worst = Math.max(worst, error);
      }
      assertTrue(worst < bound, variant + " " + precision + ": relative error " + worst);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "head_dim72, BF16, 3e-2",
    "head_dim72, F16, 4e-3",
    "head_dim64, BF16, 3e-2",
    "no_qk_norm, F16, 4e-3",
    "patch2_lora, BF16, 3e-2"
  })
  void eachOfTwoPlansGivesTheReferencesVelocitiesForEveryPack(
      String variant, DType precision, double bound) throws Exception {
    PluginEngines.requireSmallPlan(plugins);
    NitConfig config =
        switch (variant) {
          case "head_dim64" -> TINY.with(Map.of("hidden_size", 128));
          case "no_qk_norm" -> TINY.with(Map.of("qk_norm", false));
          case "patch2_lora" ->
              TINY.with(Map.of("patch_size", 2, "use_adaln_lora", true, "adaln_lora_dim", 8));
          default -> TINY;
        };
    EngineBuilder.Built built = build(config, precision, twoPlans());
    List<String> wrong = new ArrayList<>();
    List<PlanLayers> layers = built.layers();
    assertEquals(3, layers.size());
    // The inspector may list a layer once for every profile; each plan here has one.
    Map<String, Integer> small = layers.get(1).plugins();
    boolean joined = NitOps.joinsHeads(config.numHeads(), config.headDim());
    if (layers.get(0).plugins().containsKey("NitLinear")
        || small.getOrDefault("NitLinear", 0) != (joined ? 3 : 4) * config.depth()
        || small.getOrDefault("NitQkvLinear", 0) != (joined ? config.depth() : 0)
        || small.getOrDefault("NitQkNormRope2d", 0) != (joined ? 0 : config.depth())
        || !layers.get(2).plugins().isEmpty()) {
      wrong.add("plugins " + layers.stream().map(PlanLayers::plugins).toList());
    }
    try (ReferenceEngine reference =
            ReferenceEngine.open(new SyntheticWeights(config, false), config);
        TensorRtEngine engine = open(built, config)) {
      List<VelocityEngine> runners = new ArrayList<>(engine.variants());
      assertEquals(
          List.of("plan of up to 512 tokens", "plan of up to 4096 tokens"),
          runners.stream().map(VelocityEngine::description).toList());
      runners.add(engine);
      for (PackLayout layout : packsOfBothPlans()) {
        float[] expected = forward(reference, layout);
        for (VelocityEngine runner : runners) {
          if (layout.tokens() > runner.maxTokens()) {
            continue;
          }
          String name = runner == engine ? "the engine" : runner.description();
          float[] found = forward(runner, layout);
          double error = Errors.relative(found, expected);
          System.out.printf(
              Locale.ROOT,
              "  %s %s %s, %s: relative error %.2e%n",
              variant,
              precision,
              layout,
              name,
              error);
          if (!(error < bound)) {
            wrong.add(layout + ", " + name + ": relative error " + error);
          }
          if (runner == engine
              && !Arrays.equals(
                  found, forward(runners.get(layout.tokens() <= 512 ? 0 : 1), layout))) {
            wrong.add(layout + ": expected the bits of the plan for its tokens");
          }
        }
      }
    }
    assertEquals(List.of(), wrong, variant + " " + precision);
  }

  @Test
  void mixesThatGoThroughBothPlansGiveTheSameBitsWithAndWithoutGraphs() throws Exception {
    PluginEngines.requireSmallPlan(plugins);
    EngineBuilder.Built built = build(TINY, DType.BF16, twoPlans());
    Random random = new Random(5);
    List<PackLayout> mixes = packsOfBothPlans();
    while (mixes.size() < 40) {
      int images = 1 + random.nextInt(mixes.size() % 2 == 0 ? 4 : 60);
      int[] h = random.ints(images, 1, mixes.size() % 3 == 0 ? 25 : 8).toArray();
      int[] w = random.ints(images, 1, 25).toArray();
      PackLayout layout = PackLayout.of(h, w);
      if (layout.tokens() <= 4096) {
        mixes.add(layout);
      }
    }
    try (TensorRtEngine engine = open(built, TINY);
        TensorRtEngine plain =
            TensorRtEngine.open(
                built.plan(), TINY, Optional.of(plugins), new TensorRtEngine.Options(0, false))) {
      // Multiples of 128 tokens up to 2048, and of 256 for many images, over both plans.
      assertEquals(16 + 8, engine.warmUp());
      assertEquals(16 + 8, engine.warmUp());
      assertEquals(0, plain.warmUp());
      for (int round = 0; round < 3; round++) {
        for (PackLayout layout : mixes) {
          assertArrayEquals(
              forward(plain, layout), forward(engine, layout), layout + ", round " + round);
        }
      }
      System.out.println("  " + engine.capturedShapes() + " sizes recorded");
    }
    // A recording of each plan under way while the engine is closed.
    TensorRtEngine closed = open(built, TINY);
    for (int i = 0; i < 2; i++) {
      forward(closed, mixes.get(0));
      forward(closed, PACKS.get(2));
    }
    closed.close();
    assertThrows(IllegalStateException.class, () -> forward(closed, mixes.get(0)));
    assertThrows(
        IllegalStateException.class, () -> forward(closed.variants().get(0), mixes.get(0)));
  }

  @Test
  void sizesThatComeAgainAreReplayedWithTheSameBits() throws Exception {
    try (TensorRtEngine engine = open(build(TINY, DType.BF16, twoBuckets()), TINY)) {
      float[][] first = new float[PACKS.size()][];
      for (int i = 0; i < first.length; i++) {
        first[i] = forward(engine, PACKS.get(i));
      }
      assertEquals(0, engine.capturedShapes());
      // A bucket of 64 tokens, then multiples of 128 up to 1024 in the other; of 256 for many
      // images.
      assertEquals(9 + 5, engine.warmUp());
      assertEquals(9 + 5, engine.warmUp());
      for (int round = 0; round < 20; round++) {
        int i = round * 7 % first.length;
        assertArrayEquals(first[i], forward(engine, PACKS.get(i)), PACKS.get(i) + " " + round);
      }
      assertTrue(engine.deviceMillis() > 0);
    }
  }

  @Test
  void anEngineIsWarmedUpBeforeItsFirstForwardWhateverItsMemoryHeldBefore() throws Exception {
    EngineBuilder.Built built = build(TINY, DType.BF16, twoBuckets());
    try (TensorRtEngine plain =
        TensorRtEngine.open(
            built.plan(), TINY, Optional.of(plugins), new TensorRtEngine.Options(0, false))) {
      leaveGarbage();
      try (TensorRtEngine engine = open(built, TINY)) {
        assertEquals(9 + 5, engine.warmUp());
        for (PackLayout layout : PACKS) {
          assertArrayEquals(forward(plain, layout), forward(engine, layout), layout.toString());
        }
      }
    }
  }

  /** Free memory that holds what is far outside as a row or an image's end. */
  private static void leaveGarbage() throws TensorRtException {
    List<Pointer> pieces = new ArrayList<>();
    try {
      for (long bytes : new long[] {1L << 30, 1L << 26, 1L << 22, 1L << 18, 1L << 14}) {
        for (int i = 0; i < 4; i++) {
          pieces.add(Cuda.allocate(bytes, "garbage"));
          Cuda.check(cudart.cudaMemset(pieces.get(pieces.size() - 1), 0x5a, bytes), "garbage");
        }
      }
    } finally {
      pieces.forEach(Cuda::free);
    }
  }

  @Test
  void aSizeIsRecordedWhileOthersRunAndAnEngineMayBeClosedMeanwhile() throws Exception {
    EngineBuilder.Built built = build(TINY, DType.BF16, twoBuckets());
    try (TensorRtEngine engine = open(built, TINY)) {
      float[] expected = forward(engine, PACKS.get(2));
      long end = System.nanoTime() + 60_000_000_000L;
      int rounds = 0;
      while (engine.capturedShapes() == 0 && System.nanoTime() < end) {
        assertArrayEquals(expected, forward(engine, PACKS.get(2)));
        rounds++;
      }
      System.out.println("  recorded after " + rounds + " forwards");
      assertEquals(1, engine.capturedShapes());
      assertArrayEquals(expected, forward(engine, PACKS.get(2)));
    }
    TensorRtEngine closed = open(built, TINY);
    forward(closed, PACKS.get(3));
    forward(closed, PACKS.get(3)); // starts a recording
    closed.close();
    assertThrows(IllegalStateException.class, () -> forward(closed, PACKS.get(3)));
  }

  @Test
  void sizesThatCouldNotBeRecordedForWantOfMemoryAreRecordedOnceThereIsSome() throws Exception {
    EngineBuilder.Built built = build(TINY, DType.BF16, twoBuckets());
    try (TensorRtEngine engine = open(built, TINY)) {
      float[][] expected = new float[PACKS.size()][];
      for (int i = 0; i < expected.length; i++) {
        expected[i] = forward(engine, PACKS.get(i)); // its kernels are loaded
      }
      int rounds = 0;
      int without;
      try (Hoard hoard = new Hoard(0)) {
        long end = System.nanoTime() + 3_000_000_000L;
        while (System.nanoTime() < end) {
          int i = rounds++ % expected.length;
          assertArrayEquals(expected[i], forward(engine, PACKS.get(i)), PACKS.get(i) + ", without");
        }
        without = engine.capturedShapes();
      }
      System.out.println("  without memory " + without + " sizes recorded in " + rounds + " calls");
      long end = System.nanoTime() + 90_000_000_000L;
      rounds = 0;
      while (without + engine.capturedShapes() == 0 && System.nanoTime() < end) {
        int i = rounds++ % expected.length;
        assertArrayEquals(expected[i], forward(engine, PACKS.get(i)), PACKS.get(i) + ", again");
      }
      System.out.println(
          "  with memory " + engine.capturedShapes() + " sizes after " + rounds + " more calls");
      assertTrue(engine.capturedShapes() > 0);
      for (int i = 0; i < expected.length; i++) {
        assertArrayEquals(expected[i], forward(engine, PACKS.get(i)), PACKS.get(i) + ", replayed");
      }
    }
  }

  @Test
  void modulationsThatWereComputedAheadAndThoseOfAFullTableAreTheSame() throws Exception {
    EngineBuilder.Built built = build(TINY, DType.BF16, twoBuckets());
    PackLayout layout = PACKS.get(2);
    ForwardInputs in = VerificationPack.of(TINY, layout).inputs();
    try (TensorRtEngine plain = open(built, TINY);
        TensorRtEngine told = open(built, TINY)) {
      float[] t = new float[6000]; // more than the table has rows
      long[] y = new long[t.length];
      for (int i = 0; i < t.length; i++) {
        t[i] = i / 6000f;
        y[i] = i % 6;
      }
      told.announce(t, y);
      told.announce(in.t(), in.y());
      float[] expected = forward(plain, layout);
      assertArrayEquals(expected, forward(told, layout));
      for (int from = 0; from < t.length; from += 500) { // rows go round
        told.announce(
            Arrays.copyOfRange(t, from, from + 500), Arrays.copyOfRange(y, from, from + 500));
        assertArrayEquals(expected, forward(told, layout), "after " + from);
      }
    }
  }

  @Test
  void twoEnginesOfOnePlanRunSideBySideAndPacksThatAreTooLargeAreRefused() throws Exception {
    EngineBuilder.Built built = build(TINY, DType.BF16, twoBuckets());
    TensorRtEngine one = open(built, TINY);
    try (TensorRtEngine two = open(built, TINY)) {
      float[] expected = forward(one, PACKS.get(2));
      assertArrayEquals(expected, forward(two, PACKS.get(2)));
      String message =
          assertThrows(
                  EngineException.class,
                  () -> forward(two, PackLayout.of(new int[] {33}, new int[] {32})))
              .getMessage();
      assertTrue(
          message.contains("expected at most 1024 tokens") && message.contains("1056 tokens"),
          message);
      int[] ones = new int[300];
      Arrays.fill(ones, 1);
      message =
          assertThrows(EngineException.class, () -> forward(two, PackLayout.of(ones, ones)))
              .getMessage();
      assertTrue(message.contains("256 images"), message);
      one.close();
      one.close();
      assertThrows(IllegalStateException.class, () -> forward(one, PACKS.get(0)));
      assertArrayEquals(expected, forward(two, PACKS.get(2)));
    }
  }

  @Test
  void plansThatAreCutOrNoneAndOtherModelsAreRefused() throws Exception {
    EngineBuilder.Built built = build(TINY, DType.BF16, twoBuckets());
    String message =
        assertThrows(EngineException.class, () -> open(built, TINY.with(Map.of("in_channels", 8))))
            .getMessage();
    assertTrue(message.contains("x: expected [-1, 8, 1, 1]"), message);

    byte[] bytes = Files.readAllBytes(built.plan());
    Files.write(built.plan(), Arrays.copyOf(bytes, bytes.length / 2));
    message = assertThrows(EngineException.class, () -> open(built, TINY)).getMessage();
    System.out.println("  cut in half: " + message);
    assertTrue(message.contains("does not take this plan"), message);

    Files.write(built.plan(), new byte[4096]);
    message = assertThrows(EngineException.class, () -> open(built, TINY)).getMessage();
    System.out.println("  zeros: " + message);

    Files.write(built.plan(), bytes);
    message =
        assertThrows(
                EngineException.class,
                () ->
                    TensorRtEngine.open(
                        built.plan(), TINY, Optional.empty(), TensorRtEngine.Options.DEFAULT))
            .getMessage();
    System.out.println("  without the plugins' library: " + message);
    try (TensorRtEngine engine = open(built, TINY)) {
      forward(engine, PACKS.get(0));
    }
  }

  @Test
  void theCommandLeavesAnEngineThatTheBackendTakesAndAnotherLibraryIsRefused() throws Exception {
    Path exported = SyntheticModel.write(TINY, folder.resolve("served"));
    Path served = PlainBundle.write(exported, TINY, 1024).folder();
    CapturedRun run = CapturedRun.of(new Export(), "engine", served, "--buckets", "512,4096");
    System.out.println(run.err());
    assertEquals(0, run.code(), run.err());
    Path plan = served.resolve("engine-bf16.plan");
    assertEquals(plan.toString(), run.out().strip());
    EngineManifest manifest = EngineManifest.read(plan);
    assertEquals(plugins.sha256(), manifest.builtOn().plugins().orElseThrow().sha256());
    List<String> verified = new ArrayList<>();
    manifest
        .verification()
        .forEach(
            row -> {
              System.out.println("  verified: " + row);
              verified.add(row.path("against").asText() + (row.has("psnr_db") ? " sampled" : ""));
            });
    // Two of the three packs fit into the small plan too.
    boolean small = PluginEngines.smallPlanHere(plugins);
    assertEquals(
        small ? List.of(PackPlan.MAIN, PackPlan.SMALL) : List.of(PackPlan.MAIN),
        manifest.packPlans());
    List<String> expected = new ArrayList<>(Collections.nCopies(small ? 2 : 1, "reference"));
    // Packs that fill the two profiles, half of whose tokens are the first pack's again and again.
    expected.addAll(List.of("reference", "that image alone", "reference", "profile of 512 tokens"));
    expected.addAll(Collections.nCopies(small ? 3 : 2, "reference"));
    expected.add("reference sampled");
    // Where the trainer and libtorch's natives are on the class path, in each plan.
    if (ForwardOracle.find(reason -> System.out.println("  no ratio: " + reason)).isPresent()) {
      expected.addAll(Collections.nCopies(small ? 2 : 1, "trainer-f32"));
    }
    assertEquals(expected, verified);
    try (VelocityEngine engine =
        Engines.open(Bundle.open(served), Engines.AUTO, EngineOptions.DEFAULT)) {
      assertEquals("tensorrt", engine.backend());
      forward(engine, PACKS.get(2));
    }
    FileTime built = Files.getLastModifiedTime(plan);
    String[] again = {
      "engine", served.toString(), "--buckets", "512,4096", "--rebuild-on-mismatch"
    };
    run = CapturedRun.of(new Export(), (Object[]) again);
    assertEquals(0, run.code(), run.err());
    assertEquals(built, Files.getLastModifiedTime(plan));
    again[3] = "512,1024";
    run = CapturedRun.of(new Export(), (Object[]) again);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("profiles: expected 512 tokens in 512 images"), run.err());
    assertEquals(1024, EngineManifest.read(plan).profiles().get(1).tokens());
    again = Arrays.copyOf(again, again.length + 2);
    again[5] = "--small-pack-kernels";
    again[6] = "off";
    run = CapturedRun.of(new Export(), (Object[]) again);
    assertEquals(0, run.code(), run.err());
    assertEquals(small, run.err().contains("512 images (small plan)"), run.err());
    assertEquals(List.of(PackPlan.MAIN), EngineManifest.read(plan).packPlans());
    Path text = EngineManifest.fileOf(plan);
    Files.writeString(text, Files.readString(text).replace(plugins.sha256(), "another"));
    String message =
        assertThrows(
                EngineException.class,
                () -> Engines.open(Bundle.open(served), "tensorrt", EngineOptions.DEFAULT))
            .getMessage();
    assertTrue(
        message.contains("plugins.sha256: expected another, found " + plugins.sha256())
            && message.contains("Build it again with: nit-export engine " + served)
            && message.contains("--buckets 512,1024")
            && message.contains(" --overwrite"),
        message);
    Files.writeString(text, Files.readString(text).replace("another", plugins.sha256()));
    refusedOnceItIsOpened(served, plan);
    run = CapturedRun.of(new Export(), (Object[]) again);
    assertEquals(0, run.code(), run.err());
    assertTrue(run.err().contains("plan.sha256: expected "), run.err());
    try (VelocityEngine engine =
        Engines.open(Bundle.open(served), "tensorrt", EngineOptions.DEFAULT)) {
      forward(engine, PACKS.get(2));
    }
  }

  /** What only an opened plan tells, and a hash; leaves a plan with wrong bytes behind. */
  private void refusedOnceItIsOpened(Path served, Path plan) throws Exception {
    Path manifest = EngineManifest.fileOf(plan);
    String text = Files.readString(manifest);
    Map<String, String> lies =
        Map.of(
            text.replace("\"tokens\" : 1024", "\"tokens\" : 2048"),
            "profiles: expected 512 tokens in 512 images, 2048 tokens in 1024 images, found 512"
                + " tokens in 512 images, 1024 tokens in 1024 images",
            text.replace("\"precision\" : \"BF16\"", "\"precision\" : \"F16\""),
            "precision: expected F16, found BF16");
    for (Map.Entry<String, String> lie : lies.entrySet()) {
      Files.writeString(manifest, lie.getKey());
      String message =
          assertThrows(
                  EngineException.class,
                  () -> Engines.open(Bundle.open(served), "tensorrt", EngineOptions.DEFAULT))
              .getMessage();
      assertTrue(
          message.contains(lie.getValue()) && message.contains("Build it again with: "), message);
    }
    Files.writeString(manifest, text);
    byte[] bytes = Files.readAllBytes(plan);
    Arrays.fill(bytes, 0, 4096, (byte) 0);
    Files.write(plan, bytes);
    String message =
        assertThrows(
                EngineException.class,
                () -> Engines.open(Bundle.open(served), "tensorrt", EngineOptions.DEFAULT))
            .getMessage();
    System.out.println("  same size, other bytes: " + message);
    assertTrue(
        message.contains("does not take this plan")
            && message.contains("plan.sha256: expected ")
            && message.contains("Build it again with: nit-export engine " + served),
        message);
  }

  @Test
  void compareTellsAnEnginesErrorsInEveryProfileAndOfItsSamples() throws Exception {
    Path exported = SyntheticModel.write(TINY, folder.resolve("compared"));
    Path compared = PlainBundle.write(exported, TINY, 1024).folder();
    CapturedRun build =
        CapturedRun.of(
            new Export(), "engine", compared, "--buckets", "64,512,1024", "--no-verify", "--quiet");
    assertEquals(0, build.code(), build.err());
    for (String against : new String[] {"reference", "ort-cpu"}) {
      CapturedRun run =
          CapturedRun.of(new Run(), "compare", "--bundle", compared, "--against", against);
      System.out.println(run.out().indent(2) + run.err());
      assertEquals(0, run.code(), run.err());
      assertTrue(run.out().contains("tensorrt: relative error"), run.out());
      assertTrue(run.out().contains("(bound 5e-02 in bf16)"), run.out());
      assertTrue(run.out().contains("; sampled latents: relative error"), run.out());
      for (int tokens : new int[] {64, 512, 1024}) {
        assertTrue(run.out().contains("  profile of " + tokens + " tokens: "), run.out());
      }
    }
    CapturedRun run =
        CapturedRun.of(
            new Run(), "compare", "--bundle", compared, "--steps", "0", "--bound", "1e-9");
    assertEquals(1, run.code(), run.err());
    assertTrue(run.out().contains("ABOVE THE BOUND"), run.out());
    run = CapturedRun.of(new Run(), "compare", "--bundle", compared, "--device", "99");
    System.out.println(run.out().indent(2) + run.err());
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("tensorrt: ") && run.out().contains("99"), run.out());
  }

  @Test
  void theTimingCacheIsKeptAndReused() throws Exception {
    Path cache = folder.resolve("timings");
    BuildOptions options = new BuildOptions(0, List.of(256), 64, 1L << 30, 3, Optional.of(cache));
    double first = build(TINY, DType.BF16, options).buildSeconds();
    long bytes = Files.size(cache);
    List<String> lines = new ArrayList<>();
    double second = build(TINY, DType.BF16, options, lines::add).buildSeconds();
    System.out.printf(
        Locale.ROOT, "  timing cache of %d bytes: %.1f s, then %.1f s%n", bytes, first, second);
    assertTrue(bytes > 0);
    assertTrue(
        lines.contains("timing cache of " + bytes + " bytes from " + cache), lines.toString());
    assertFalse(lines.toString().contains("once more without"), lines.toString());
    // What was timed is not timed again; a few choices may fall otherwise in another build.
    long after = Files.size(cache);
    assertTrue(after <= bytes + bytes / 20, bytes + " bytes, then " + after);
    Files.writeString(cache, "no timing cache");
    build(TINY, DType.BF16, options);
    assertTrue(Files.size(cache) > 100);
  }

  @Test
  void theGpuTellsWhatItIs() throws Exception {
    Gpu gpu = Gpu.open(0);
    System.out.println("  " + gpu);
    assertTrue(gpu.major() >= 8 && gpu.memory() > 1L << 30, gpu.toString());
  }
}
