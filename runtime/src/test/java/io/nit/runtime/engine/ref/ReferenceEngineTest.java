package io.nit.runtime.engine.ref;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.testing.Errors;
import io.nit.testing.Golden;
import io.nit.testing.GoldenState;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ReferenceEngineTest {
  private static final NitConfig TINY =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size",
                  48,
                  "depth",
                  2,
                  "num_heads",
                  2,
                  "in_channels",
                  4,
                  "num_classes",
                  5,
                  "encoder_depth",
                  1,
                  "projector_dim",
                  20,
                  "z_dim",
                  12));

  @TempDir Path folder;

  @Test
  void velocityEqualsTheAuthors() throws IOException {
    try (TensorSource golden = Golden.nitTiny();
        ReferenceEngine engine =
            ReferenceEngine.open(new GoldenState(golden), Golden.nitTinyConfig())) {
      float[] v = forward(engine, goldenInputs(golden, engine.config()));
      assertTrue(Errors.relative(v, golden.tensor("out.v").toFloats()) <= 2e-5);
    }
  }

  @Test
  void projectionEqualsTheAuthors() throws IOException {
    try (TensorSource golden = Golden.nitTiny();
        ReferenceEngine engine =
            ReferenceEngine.open(new GoldenState(golden), Golden.nitTinyConfig())) {
      float[] z = engine.project(goldenInputs(golden, engine.config()));
      assertTrue(Errors.relative(z, golden.tensor("out.z").toFloats()) <= 2e-5);
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"patch2", "patch3_released", "no_qk_norm", "adaln_lora", "head_dim72", "all"})
  void variantsEqualAnIndependentForward(String variant) throws IOException {
    try (TensorSource golden =
        SafetensorsFile.open(Golden.file("golden/nit-variants.safetensors"))) {
      NitConfig config =
          NitConfig.fromJson(golden.metadata().get(variant), variant, PositionOrder.AXIAL);
      ReferenceEngine engine = ReferenceEngine.open(new SyntheticWeights(config, true), config);
      PackLayout layout = PackLayout.ofHwList(new long[] {2, 3, 1, 1, 4, 2, 1, 5});
      ForwardInputs in = inputs(config, layout, new float[] {0, 0.3f, 0.77f, 1}, 0, 5, 2, 4);
      float[] v = golden.tensor(variant + ".v").toFloats();
      float[] z = golden.tensor(variant + ".z").toFloats();
      // Close enough to tell an epsilon of 1e-5 from 1e-6.
      assertTrue(Errors.relative(forward(engine, in), v) <= 1e-6);
      assertTrue(Errors.relative(engine.project(in), z) <= 1e-6);
    }
  }

  @Test
  void imagesOfAPackDoNotTouchEachOther() throws IOException {
    ReferenceEngine engine = ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY);
    PackLayout layout = PackLayout.of(new int[] {3, 2, 1}, new int[] {2, 5, 1});
    ForwardInputs in = inputs(TINY, layout, new float[] {0.2f, 0.5f, 0.9f}, 0, 1, 2);
    float[] before = forward(engine, in);
    for (int i = 6 * 4; i < 16 * 4; i++) {
      in.x().put(i, -in.x().get(i)); // image 1
    }
    float[] after = forward(engine, in);
    assertArrayEquals(Arrays.copyOf(before, 6 * 4), Arrays.copyOf(after, 6 * 4));
    assertArrayEquals(
        Arrays.copyOfRange(before, 16 * 4, 17 * 4), Arrays.copyOfRange(after, 16 * 4, 17 * 4));
    assertNotEquals(before[6 * 4], after[6 * 4]);
  }

  @Test
  void anImageAloneEqualsItselfInAPackBitForBit() throws IOException {
    ReferenceEngine engine = ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY);
    PackLayout pack = PackLayout.of(new int[] {3, 2}, new int[] {2, 5});
    ForwardInputs together = inputs(TINY, pack, new float[] {0.2f, 0.5f}, 0, 1);
    PackLayout one = PackLayout.of(new int[] {2}, new int[] {5});
    ForwardInputs alone =
        new ForwardInputs(
            one,
            together.x().duplicate().position(6 * 4).slice(),
            new float[] {0.5f},
            new long[] {1},
            new Rope2d().tables(RopeSpec.of(TINY), one));
    assertArrayEquals(
        Arrays.copyOfRange(forward(engine, together), 6 * 4, 16 * 4), forward(engine, alone));
  }

  @Test
  void inputsKeepTheirPositionAndTheOutputsMoves() throws IOException {
    ReferenceEngine engine = ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY);
    PackLayout layout = PackLayout.of(new int[] {2}, new int[] {2});
    ForwardInputs in = inputs(TINY, layout, new float[] {0.5f}, 1);
    FloatBuffer v = FloatBuffer.allocate(20).position(3);
    engine.forward(in, v);
    assertEquals(0, in.x().position());
    assertEquals(19, v.position());
  }

  @Test
  void weightsMayBeOfAnyFloatTypeAndTheirFileClosed() throws IOException {
    TensorSource weights = new SyntheticWeights(TINY, false);
    SafetensorsWriter narrow = new SafetensorsWriter();
    SafetensorsWriter wide = new SafetensorsWriter();
    for (String name : weights.specs().keySet()) {
      narrow.add(weights.tensor(name).to(DType.BF16));
      wide.add(weights.tensor(name).to(DType.BF16).to(DType.F32));
    }
    PackLayout layout = PackLayout.of(new int[] {2}, new int[] {3});
    ForwardInputs in = inputs(TINY, layout, new float[] {0.5f}, 1);
    assertArrayEquals(forward(written(wide), in), forward(written(narrow), in));
  }

  private ReferenceEngine written(SafetensorsWriter writer) throws IOException {
    Path file = folder.resolve("weights.safetensors");
    writer.write(file);
    try (TensorSource weights = TensorSource.open(file)) {
      return ReferenceEngine.open(weights, TINY);
    }
  }

  @Test
  void openNamesEveryTensorThatDoesNotFit() {
    NitConfig deeper = TINY.with(Map.of("depth", 3));
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> ReferenceEngine.open(new SyntheticWeights(TINY, false), deeper))
            .getMessage();
    assertTrue(message.contains("blocks.2.attn.qkv.weight: expected [144, 48], found nothing"));
  }

  @Test
  void wrongInputsAreRefusedWithExpectedAndFound() throws IOException {
    ReferenceEngine engine = ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY);
    PackLayout layout = PackLayout.of(new int[] {2}, new int[] {2});
    ForwardInputs in = inputs(TINY, layout, new float[] {0.5f}, 6);
    assertRefused("y[0]: expected 0..5, found 6", engine, in);
    NitConfig channels = TINY.with(Map.of("in_channels", 8));
    assertRefused(
        "x: expected 4 tokens of 4 values, found 32 values",
        engine,
        inputs(channels, layout, new float[] {0.5f}, 1));
    NitConfig heads = TINY.with(Map.of("num_heads", 4));
    assertRefused(
        "rope tables: expected headDim 24, found 12",
        engine,
        inputs(heads, layout, new float[] {0.5f}, 1));
    ForwardInputs good = inputs(TINY, layout, new float[] {0.5f}, 1);
    assertThrows(
        IllegalArgumentException.class, () -> engine.forward(good, FloatBuffer.allocate(15)));
  }

  @Test
  void projectNeedsTheProjector() throws IOException {
    ReferenceEngine engine = ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY);
    PackLayout layout = PackLayout.of(new int[] {1}, new int[] {1});
    assertFalse(engine.hasProjector());
    assertThrows(
        IllegalStateException.class,
        () -> engine.project(inputs(TINY, layout, new float[] {0.5f}, 1)));
  }

  @Test
  void closingTwiceIsSafeAndUseAfterwardsThrows() throws IOException {
    ReferenceEngine engine = ReferenceEngine.open(new SyntheticWeights(TINY, true), TINY);
    ForwardInputs in =
        inputs(TINY, PackLayout.of(new int[] {1}, new int[] {1}), new float[] {0.5f}, 1);
    engine.close();
    engine.close();
    assertEquals(
        "ReferenceEngine is closed",
        assertThrows(IllegalStateException.class, () -> forward(engine, in)).getMessage());
    assertThrows(IllegalStateException.class, () -> engine.project(in));
  }

  private static void assertRefused(String message, ReferenceEngine engine, ForwardInputs in) {
    assertEquals(
        message,
        assertThrows(IllegalArgumentException.class, () -> forward(engine, in)).getMessage());
  }

  private static ForwardInputs goldenInputs(TensorSource golden, NitConfig config)
      throws IOException {
    PackLayout layout = PackLayout.ofHwList(golden.tensor("in.hw_list").toLongs());
    return new ForwardInputs(
        layout,
        golden.tensor("in.x").floats(),
        golden.tensor("in.t").toFloats(),
        golden.tensor("in.y").toLongs(),
        new Rope2d().tables(RopeSpec.of(config), layout));
  }

  private static ForwardInputs inputs(NitConfig config, PackLayout layout, float[] t, long... y) {
    float[] x = new float[layout.tokens() * config.tokenSize()];
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) (2 * SyntheticWeights.uniform(1000, i));
    }
    return new ForwardInputs(
        layout, FloatBuffer.wrap(x), t, y, new Rope2d().tables(RopeSpec.of(config), layout));
  }

  private static float[] forward(ReferenceEngine engine, ForwardInputs in) {
    float[] v = new float[in.layout().tokens() * engine.config().tokenSize()];
    engine.forward(in, FloatBuffer.wrap(v));
    return v;
  }
}
