package io.nit.trainer.fused;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.testing.Errors;
import io.nit.trainer.dist.GradientReady;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.Ema;
import io.nit.trainer.optim.FlatParameters;
import io.nit.trainer.optim.GradNorm;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

/** The written-out backward against autograd, on the CPU. */
class FusedNitTest {
  private static final Device CPU = new Device("cpu");
  private static final double TOLERANCE = 1e-5;
  private static final FlowMatchingLoss LOSS = new FlowMatchingLoss(true, 0.5);
  private static final PackLayout RAGGED =
      PackLayout.of(new int[] {1, 5, 3, 3, 6}, new int[] {1, 7, 4, 4, 2});
  private static final PackLayout OTHER = PackLayout.of(new int[] {4, 2}, new int[] {3, 9});

  /** What may differ between configs. */
  private enum Variant {
    PLAIN(FusedFixture.config(64, 4, 3, Map.of()), false, false),
    CHECKPOINTING(FusedFixture.config(64, 4, 3, Map.of()), false, true),
    PROJECTOR(FusedFixture.config(48, 3, 2, Map.of()), true, false),
    PROJECTOR_CHECKPOINTING(FusedFixture.config(48, 3, 3, Map.of("encoder_depth", 3)), true, true),
    NO_QK_NORM(FusedFixture.config(48, 2, 2, Map.of("qk_norm", false)), false, false),
    LORA(
        FusedFixture.config(48, 2, 2, Map.of("use_adaln_lora", true, "adaln_lora_dim", 12)),
        false,
        false),
    PATCHES(
        FusedFixture.config(32, 2, 1, Map.of("patch_size", 2, "position_order", "released")),
        false,
        false),
    NARROW_MLP(
        FusedFixture.config(
            40, 5, 2, Map.of("mlp_ratio", 1.3, "class_dropout_prob", 0.0, "encoder_depth", 2)),
        true,
        false);

    private final NitConfig config;
    private final boolean projector;
    private final boolean checkpointing;

    Variant(NitConfig config, boolean projector, boolean checkpointing) {
      this.config = config;
      this.projector = projector;
      this.checkpointing = checkpointing;
    }
  }

  private static void zero(NitModel model) {
    model.parameters().values().forEach(p -> p.mutable_grad().reset());
  }

  private static void close(String what, float[] expected, float[] found) {
    double error = Errors.relative(found, expected);
    assertTrue(error <= TOLERANCE, () -> what + ": relative error " + error);
  }

  @ParameterizedTest
  @EnumSource(Variant.class)
  void lossAndGradientsAreAutograds(Variant variant) {
    NitConfig config = variant.config;
    try (PointerScope scope = new PointerScope();
        NitModel oracle = FusedFixture.model(config, variant.projector, CPU, 1);
        NitModel model = FusedFixture.model(config, variant.projector, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FusedOps ops = new ReferenceOps();
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.Float, variant.checkpointing)) {
      FlowMatchingLoss.Batch one = FusedFixture.batch(config, RAGGED, variant.projector, CPU, 2);
      FlowMatchingLoss.Batch two = FusedFixture.batch(config, OTHER, variant.projector, CPU, 3);
      zero(oracle);
      double expected = FusedFixture.autograd(oracle, LOSS, one, RAGGED, 0.7);
      Map<String, float[]> afterOne = FusedFixture.gradients(oracle);
      double second = FusedFixture.autograd(oracle, LOSS, two, OTHER, 0.3);
      Map<String, float[]> afterBoth = FusedFixture.gradients(oracle);

      flat.gradients().fill_(new Scalar(7f)); // must not be added to
      FusedPack pack = FusedPack.of(RAGGED, config, new Rope2d(), CPU);
      FusedPack other = FusedPack.of(OTHER, config, new Rope2d(), CPU);
      FusedNit.Losses losses = fused.backward(LOSS, one, pack, 0.7, true, GradientReady.NOBODY);
      assertEquals(expected, losses.total().item_double(), TOLERANCE * Math.abs(expected));
      assertEquals(variant.projector, losses.projection().isPresent());
      Map<String, float[]> found = FusedFixture.gradients(model);
      afterOne.forEach((name, values) -> close("first pack, " + name, values, found.get(name)));

      losses = fused.backward(LOSS, two, other, 0.3, false, GradientReady.NOBODY);
      assertEquals(second, losses.total().item_double(), TOLERANCE * Math.abs(second));
      Map<String, float[]> both = FusedFixture.gradients(model);
      afterBoth.forEach((name, values) -> close("both packs, " + name, values, both.get(name)));
    }
  }

  @Test
  void threeStepsAreThoseOfThePlainPath() {
    NitConfig config = FusedFixture.config(48, 3, 2, Map.of());
    try (PointerScope scope = new PointerScope();
        NitModel plain = FusedFixture.model(config, false, CPU, 1);
        NitModel plainAverage = FusedFixture.model(config, false, CPU, 1);
        NitModel model = FusedFixture.model(config, false, CPU, 1);
        NitModel average = FusedFixture.model(config, false, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FlatParameters flatAverage = new FlatParameters(average.parameters(), false);
        AdamW plainOptimizer = new AdamW(plain.parameters(), AdamW.Options.STANDARD);
        AdamW optimizer = new AdamW(flat, AdamW.Options.STANDARD);
        FusedOps ops = new ReferenceOps();
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.Float, false)) {
      Ema ema = new Ema(plainAverage);
      FusedUpdate update =
          new FusedUpdate(flat, Optional.of(flatAverage), optimizer, fused.copy(), ops);
      FusedPack pack = FusedPack.of(RAGGED, config, new Rope2d(), CPU);
      for (int step = 0; step < 3; step++) {
        FlowMatchingLoss.Batch batch = FusedFixture.batch(config, RAGGED, false, CPU, step);
        zero(plain);
        FusedFixture.autograd(plain, LOSS, batch, RAGGED, 1);
        double norm = GradNorm.of(plain.parameters());
        GradNorm.clip(plain.parameters(), norm, 0.1);
        plainOptimizer.step(1e-2);
        ema.update(plain, 0.9);

        Tensor loss = fused.backward(LOSS, batch, pack, 1, true, GradientReady.NOBODY).total();
        float[] result = Weights.floats(update.step(1e-2, 0.1, 0.9, loss));
        assertEquals(norm, result[0], 1e-4 * norm);
        assertEquals(1, result[1]);
      }
      assertEquals(3, optimizer.steps());
      // Adam divides by the gradient's own size: elements with a gradient of rounding noise differ.
      Map<String, Tensor> found = model.parameters();
      plain
          .parameters()
          .forEach((name, p) -> close(name, Weights.floats(p), Weights.floats(found.get(name))));
      plainAverage
          .parameters()
          .forEach(
              (name, p) ->
                  close(
                      "average of " + name,
                      Weights.floats(p),
                      Weights.floats(average.parameters().get(name))));
    }
  }

  @Test
  void aLossThatIsNotFiniteChangesNothing() {
    NitConfig config = FusedFixture.config(32, 2, 1, Map.of());
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, false, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        AdamW optimizer = new AdamW(flat, AdamW.Options.STANDARD);
        FusedOps ops = new ReferenceOps()) {
      FusedUpdate update =
          new FusedUpdate(flat, Optional.empty(), optimizer, Optional.empty(), ops);
      float[] before = Weights.floats(flat.values());
      Tensor one = torch.ones(1).squeeze();
      flat.gradients().fill_(new Scalar(Float.NaN));
      assertEquals(0, Weights.floats(update.step(0.1, 1, 0.9, one))[1]);
      flat.gradients().fill_(new Scalar(1f));
      Tensor infinite = one.mul(new Scalar(Float.POSITIVE_INFINITY));
      assertEquals(0, Weights.floats(update.step(0.1, 1, 0.9, infinite))[1]);
      assertEquals(0, Errors.relative(Weights.floats(flat.values()), before));
      assertEquals(0, optimizer.steps());
      assertEquals(1, Weights.floats(update.step(0.1, 1, 0.9, one))[1]);
      assertTrue(Errors.relative(Weights.floats(flat.values()), before) > 0);
    }
  }

  @Test
  void gradientsAreReportedOnceFromTheLastBlockToTheEmbedders() {
    NitConfig config = FusedFixture.config(32, 2, 3, Map.of());
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, true, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FusedOps ops = new ReferenceOps();
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.Float, false)) {
      FlowMatchingLoss.Batch batch = FusedFixture.batch(config, OTHER, true, CPU, 2);
      FusedPack pack = FusedPack.of(OTHER, config, new Rope2d(), CPU);
      List<long[]> parts = new ArrayList<>();
      List<float[]> reported = new ArrayList<>();
      fused.backward(
          LOSS,
          batch,
          pack,
          1,
          true,
          (from, to) -> {
            parts.add(new long[] {from, to});
            reported.add(Weights.floats(flat.gradients().narrow(0, from, to - from)));
          });
      assertEquals(1 + 3 * 3 + 1, parts.size(), "last norm, three parts of each block, embedders");
      long end = flat.gradients().numel();
      for (int i = 0; i < parts.size(); i++) {
        long[] part = parts.get(i);
        assertEquals(end, part[1]);
        end = part[0];
        float[] now = Weights.floats(flat.gradients().narrow(0, part[0], part[1] - part[0]));
        assertEquals(0, Errors.relative(reported.get(i), now), "part " + i + " was not final");
      }
      assertEquals(0, end);
    }
  }

  @Test
  void aPackThatIsCutForAttentionGivesTheSameGradients() {
    NitConfig config = FusedFixture.config(64, 4, 2, Map.of());
    int[] h = new int[200];
    int[] w = new int[h.length];
    for (int i = 0; i < h.length; i++) {
      h[i] = i == 100 ? 26 : 1;
      w[i] = i == 100 ? 50 : 1 + i % 3;
    }
    PackLayout layout = PackLayout.of(h, w);
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, false, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FusedOps ops = new ReferenceOps();
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.Float, false)) {
      FlowMatchingLoss.Batch batch = FusedFixture.batch(config, layout, false, CPU, 2);
      FusedPack cut = FusedPack.of(layout, config, new Rope2d(), CPU);
      FusedPack whole =
          new FusedPack(
              layout,
              cut.longest(),
              cut.imageIndex(),
              cut.cuSeqlens(),
              cut.cosine(),
              cut.sine(),
              cut.chunks(),
              cut.chunkStarts(),
              List.of());
      assertEquals(List.of(0, 100, 101), cut.parts().stream().map(FusedPack.Part::image).toList());
      fused.backward(LOSS, batch, whole, 1, true, GradientReady.NOBODY);
      Map<String, float[]> expected = FusedFixture.gradients(model);
      flat.gradients().fill_(new Scalar(7f));
      fused.backward(LOSS, batch, cut, 1, true, GradientReady.NOBODY);
      Map<String, float[]> found = FusedFixture.gradients(model);
      expected.forEach((name, values) -> close(name, values, found.get(name)));
    }
  }

  @Test
  void bfloat16IsCloseToFloat32() {
    NitConfig config = FusedFixture.config(64, 1, 2, Map.of());
    try (PointerScope scope = new PointerScope();
        NitModel oracle = FusedFixture.model(config, true, CPU, 1);
        NitModel model = FusedFixture.model(config, true, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FusedOps ops = new ReferenceOps();
        FusedNit fused = new FusedNit(model, flat, ops, ScalarType.BFloat16, false)) {
      FlowMatchingLoss.Batch batch = FusedFixture.batch(config, RAGGED, true, CPU, 2);
      zero(oracle);
      double expected = FusedFixture.autograd(oracle, LOSS, batch, RAGGED, 1);
      FusedPack pack = FusedPack.of(RAGGED, config, new Rope2d(), CPU);
      FusedNit.Losses losses = fused.backward(LOSS, batch, pack, 1, true, GradientReady.NOBODY);
      assertEquals(expected, losses.total().item_double(), 0.01 * expected);
      Map<String, float[]> found = FusedFixture.gradients(model);
      FusedFixture.gradients(oracle)
          .forEach(
              (name, values) -> {
                double error = Errors.relative(found.get(name), values);
                assertTrue(error < 0.05, name + ": relative error " + error);
              });
    }
  }

  @Test
  void aConfigThatTheKernelsDoNotTakeIsRefusedWithItsField() {
    for (NitConfig preset : NitConfig.PRESETS.values()) {
      assertEquals(Optional.empty(), FusedNit.refusal(preset));
    }
    assertTrue(
        FusedNit.refusal(FusedFixture.config(32, 2, 1, Map.of())).get().contains("head_dim"));
    String channels = FusedNit.refusal(NitConfig.s().with(Map.of("in_channels", 12))).orElseThrow();
    assertTrue(channels.contains("in_channels") && channels.contains("12"), channels);
    assertFalse(FusedNit.refusal(NitConfig.s().with(Map.of("hidden_size", 3072))).isEmpty());
  }

  @Test
  void aClosedStepSaysSo() {
    NitConfig config = FusedFixture.config(32, 2, 1, Map.of());
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, false, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FusedOps ops = new ReferenceOps()) {
      FusedNit fused = new FusedNit(model, flat, ops, ScalarType.Float, false);
      fused.close();
      fused.close();
      FlowMatchingLoss.Batch batch = FusedFixture.batch(config, OTHER, false, CPU, 2);
      FusedPack pack = FusedPack.of(OTHER, config, new Rope2d(), CPU);
      assertThrows(
          IllegalStateException.class,
          () -> fused.backward(LOSS, batch, pack, 1, true, GradientReady.NOBODY));
    }
  }
}
