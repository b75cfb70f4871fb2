package io.nit.trainer.model;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.tensor.NitTensors;
import io.nit.testing.Errors;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class NitModelTest {
  private static final Device CPU = new Device("cpu");

  /** Neighbours of equal length, a one-token image, h above and below w. */
  private static final PackLayout PACK =
      PackLayout.of(new int[] {2, 3, 1, 4, 2, 1}, new int[] {3, 2, 1, 2, 5, 6});

  @BeforeAll
  static void oneThread() {
    Devices.setThreads(1);
  }

  private static NitConfig tiny(Map<String, Object> changes) {
    return NitConfig.s()
        .with(
            Map.of(
                "hidden_size",
                32,
                "depth",
                2,
                "num_heads",
                2,
                "encoder_depth",
                1,
                "in_channels",
                4,
                "num_classes",
                5,
                "projector_dim",
                8,
                "z_dim",
                6))
        .with(changes);
  }

  static Stream<NitConfig> networks() {
    return Stream.of(
        tiny(Map.of()),
        tiny(Map.of("position_order", "released")),
        tiny(Map.of("patch_size", 2)),
        tiny(Map.of("qk_norm", false)),
        tiny(Map.of("use_adaln_lora", true, "adaln_lora_dim", 5)),
        tiny(Map.of("hidden_size", 144)), // head_dim 72
        tiny(Map.of("class_dropout_prob", 0.0)));
  }

  /** Weights that are all in use: a fresh model's modulations are zero. */
  private static NitModel model(NitConfig config) {
    NitModel model = new NitModel(config, true, CPU, AttentionPath.forDevice(CPU));
    try (NoGradGuard guard = new NoGradGuard()) {
      long stream = 0;
      for (Tensor parameter : model.parameters().values()) {
        float[] values = normals(stream++, (int) parameter.numel());
        for (int i = 0; i < values.length; i++) {
          values[i] *= 0.2f;
        }
        try (PointerScope scope = new PointerScope()) {
          parameter.copy_(Weights.tensor(values, CPU, parameter.shape()));
        }
      }
    }
    return model;
  }

  private static float[] normals(long stream, int count) {
    double[] values = new Philox(3, stream).normals(count);
    float[] floats = new float[count];
    for (int i = 0; i < count; i++) {
      floats[i] = (float) values[i];
    }
    return floats;
  }

  private static float[] tokens(NitConfig config, PackLayout layout) {
    return normals(1000, layout.tokens() * config.tokenSize());
  }

  private record Result(float[] v, float[] z) {}

  private static Result forward(NitModel model, PackLayout layout, float[] x, int[] images) {
    NitConfig config = model.config();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      float[] t = new float[images.length];
      long[] y = new long[images.length];
      for (int i = 0; i < images.length; i++) {
        t[i] = 0.1f + 0.13f * images[i];
        y[i] = images[i] % 5;
      }
      int p = config.patchSize();
      NitModel.Output out =
          model.forward(
              Weights.tensor(x, CPU, layout.tokens(), config.inChannels(), p, p),
              Weights.tensor(t, CPU, t.length),
              Weights.indices(y, CPU),
              PackIndex.of(layout, config, new Rope2d(), CPU),
              true);
      return new Result(Weights.floats(out.v()), Weights.floats(out.z().orElseThrow()));
    }
  }

  private static final int[] ALL = {0, 1, 2, 3, 4, 5};

  @ParameterizedTest
  @MethodSource("networks")
  void parametersAreTheCheckpointsTensorsInForwardOrder(NitConfig config) {
    try (NitModel model = model(config)) {
      List<String> found = new ArrayList<>();
      model.parameters().forEach((name, t) -> found.add(name + " " + Weights.shape(t)));
      List<String> expected =
          NitTensors.of(config, true).values().stream()
              .map(spec -> spec.name() + " " + spec.shape())
              .toList();
      assertEquals(expected, found);
    }
  }

  @ParameterizedTest
  @MethodSource("networks")
  void anImageGetsTheSameVelocityAloneAsInAPack(NitConfig config) {
    try (NitModel model = model(config)) {
      float[] x = tokens(config, PACK);
      Result packed = forward(model, PACK, x, ALL);
      for (int image : ALL) {
        PackLayout alone = PackLayout.of(new int[] {PACK.h(image)}, new int[] {PACK.w(image)});
        Result single = forward(model, alone, cut(x, image, config.tokenSize()), new int[] {image});
        double error = Errors.relative(cut(packed.v, image, config.tokenSize()), single.v);
        assertTrue(error < 1e-5, "image " + image + ": v differs by " + error);
        error = Errors.relative(cut(packed.z, image, config.zDim()), single.z);
        assertTrue(error < 1e-5, "image " + image + ": z differs by " + error);
      }
    }
  }

  private static float[] cut(float[] values, int image, int width) {
    return Arrays.copyOfRange(
        values, PACK.start(image) * width, (PACK.start(image) + PACK.tokens(image)) * width);
  }

  @ParameterizedTest
  @MethodSource("networks")
  void anImagesTokensChangeNoBitOfAnyOtherImage(NitConfig config) {
    try (NitModel model = model(config)) {
      float[] x = tokens(config, PACK);
      Result before = forward(model, PACK, x, ALL);
      for (int changed : ALL) {
        float[] other = x.clone();
        for (int i = PACK.start(changed) * config.tokenSize();
            i < (PACK.start(changed) + PACK.tokens(changed)) * config.tokenSize();
            i++) {
          other[i] += 1;
        }
        Result after = forward(model, PACK, other, ALL);
        for (int image : ALL) {
          float[] expected = cut(before.v, image, config.tokenSize());
          float[] found = cut(after.v, image, config.tokenSize());
          if (image == changed) {
            assertFalse(Arrays.equals(expected, found), "image " + image + " did not change");
          } else {
            assertArrayEquals(expected, found, "image " + image + " of changed " + changed);
          }
        }
      }
    }
  }

  @Test
  void thePositionOrdersAgreeOnNoImageThatHasTwoRowsAndColumns() {
    NitConfig axial = tiny(Map.of());
    try (NitModel a = model(axial);
        NitModel b = model(tiny(Map.of("position_order", "released")))) {
      float[] x = tokens(axial, PACK);
      Result first = forward(a, PACK, x, ALL);
      Result second = forward(b, PACK, x, ALL);
      assertTrue(Errors.relative(cut(first.v, 0, 4), cut(second.v, 0, 4)) > 1e-4);
      assertTrue(Errors.relative(cut(first.v, 2, 4), cut(second.v, 2, 4)) < 1e-6);
    }
  }

  @Test
  void aFreshModelsFirstVelocityIsZeroAndItsWeightsComeFromTheSeedAlone() {
    NitConfig config = tiny(Map.of());
    try (NitModel a = new NitModel(config, true, CPU, AttentionPath.forDevice(CPU));
        NitModel b = new NitModel(config, true, CPU, AttentionPath.forDevice(CPU))) {
      Initializer.initialize(a, 11);
      Initializer.initialize(b, 11);
      float[] qkv = Weights.floats(a.parameters().get("blocks.0.attn.qkv.weight"));
      b.parameters()
          .forEach(
              (name, t) ->
                  assertArrayEquals(Weights.floats(a.parameters().get(name)), Weights.floats(t)));
      Initializer.initialize(b, 12);
      assertFalse(
          Arrays.equals(qkv, Weights.floats(b.parameters().get("blocks.0.attn.qkv.weight"))));
      double bound = Math.sqrt(6.0 / (96 + 32));
      double largest = 0;
      for (float value : qkv) {
        largest = Math.max(largest, Math.abs(value));
      }
      assertTrue(largest <= bound && largest > 0.95 * bound, "xavier-uniform: " + largest);
      for (float value : forward(a, PACK, tokens(config, PACK), ALL).v) {
        assertEquals(0, value);
      }
    }
  }

  @Test
  void aClosedModelSaysSo() {
    NitModel model = model(tiny(Map.of()));
    model.close();
    model.close();
    IllegalStateException closed =
        assertThrows(
            IllegalStateException.class, () -> model.forward(null, null, null, null, false));
    assertEquals("NitModel is closed", closed.getMessage());
  }
}
