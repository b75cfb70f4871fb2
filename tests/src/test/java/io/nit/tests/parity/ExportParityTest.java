package io.nit.tests.parity;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
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
import io.nit.core.tensor.TensorSpec;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.testing.Errors;
import io.nit.testing.Golden;
import io.nit.testing.GoldenState;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

/** The exported file in ONNX Runtime against the trainer's forward and the authors' numbers. */
class ExportParityTest {
  private static final double BOUND = 2e-5;
  private static final int THREADS = 1;

  private static final NitConfig TINY =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size", 48,
                  "depth", 3,
                  "num_heads", 2,
                  "in_channels", 4,
                  "num_classes", 5,
                  "encoder_depth", 1,
                  "projector_dim", 20,
                  "z_dim", 12));

  private static final NitConfig STRETCHED =
      TINY.with(
          Map.of(
              "custom_freqs", "yarn",
              "max_pe_len_h", 40,
              "max_pe_len_w", 60,
              "decouple", true,
              "ori_max_pe_len", 4));

  // Non-square both ways, a one-token image, and one that attends in more than one step.
  private static final PackLayout RAGGED =
      PackLayout.of(new int[] {3, 1, 26, 7}, new int[] {5, 1, 21, 2});
  private static final PackLayout ONE_IMAGE = PackLayout.of(new int[] {4}, new int[] {6});
  private static final PackLayout ONE_TOKEN = PackLayout.of(new int[] {1}, new int[] {1});

  @TempDir Path folder;

  @Test
  void goldenWeightsGiveTheAuthorsVelocityAndTheTrainers() throws IOException, EngineException {
    NitConfig config = Golden.nitTinyConfig();
    try (TensorSource golden = Golden.nitTiny();
        TensorSource weights = new GoldenState(golden);
        ExportedModel exported = ExportedModel.of(config, weights, DType.F32, folder, THREADS);
        TrainerModel trainer = new TrainerModel(config, weights)) {
      PackLayout layout = PackLayout.ofHwList(golden.tensor("in.hw_list").toLongs());
      ForwardInputs in =
          new ForwardInputs(
              layout,
              FloatBuffer.wrap(golden.tensor("in.x").toFloats()),
              golden.tensor("in.t").toFloats(),
              golden.tensor("in.y").toLongs(),
              new Rope2d().tables(RopeSpec.of(config), layout));
      float[] found = exported.forward(in);
      within(BOUND, Errors.relative(found, golden.tensor("out.v").toFloats()));
      within(BOUND, Errors.relative(found, trainer.forward(in)));
    }
  }

  @ParameterizedTest
  @ValueSource(
      strings = {
        "plain",
        "patch2",
        "no_qk_norm",
        "adaln_lora",
        "head_dim72",
        "released",
        "yarn_for_40x60",
        "mlp_ratio2.5"
      })
  void everyVariantEqualsTheTrainersForward(String variant) throws IOException, EngineException {
    NitConfig config =
        switch (variant) {
          case "plain" -> TINY;
          case "patch2" -> TINY.with(Map.of("patch_size", 2));
          case "no_qk_norm" -> TINY.with(Map.of("qk_norm", false));
          case "adaln_lora" -> TINY.with(Map.of("use_adaln_lora", true, "adaln_lora_dim", 8));
          case "head_dim72" -> TINY.with(Map.of("hidden_size", 144));
          case "released" -> TINY.withPositionOrder(PositionOrder.RELEASED);
          case "yarn_for_40x60" -> STRETCHED;
          case "mlp_ratio2.5" -> TINY.with(Map.of("mlp_ratio", 2.5));
          default -> throw new IllegalArgumentException(variant);
        };
    TensorSource weights = new SyntheticWeights(config, false);
    try (ExportedModel exported = ExportedModel.of(config, weights, DType.F32, folder, THREADS);
        TrainerModel trainer = new TrainerModel(config, weights)) {
      for (PackLayout layout : List.of(RAGGED, ONE_IMAGE, ONE_TOKEN)) {
        ForwardInputs in = VerificationPack.of(config, layout).inputs();
        within(BOUND, Errors.relative(exported.forward(in), trainer.forward(in)));
      }
    }
  }

  @Test
  void theTwoPositionOrdersDifferOnNonSquareImages() throws IOException, EngineException {
    TensorSource weights = new SyntheticWeights(TINY, false);
    NitConfig released = TINY.withPositionOrder(PositionOrder.RELEASED);
    try (ExportedModel exported = ExportedModel.of(TINY, weights, DType.F32, folder, THREADS)) {
      float[] axial = exported.forward(VerificationPack.of(TINY, ONE_IMAGE).inputs());
      float[] other = exported.forward(VerificationPack.of(released, ONE_IMAGE).inputs());
      assertTrue(Errors.relative(axial, other) > 1e-3);
    }
  }

  @Test
  void theConfigsRotaryModeChangesTheForward() throws IOException {
    TensorSource weights = new SyntheticWeights(TINY, false);
    ForwardInputs in = VerificationPack.of(TINY, ONE_IMAGE).inputs();
    try (TrainerModel plain = new TrainerModel(TINY, weights);
        TrainerModel stretched = new TrainerModel(STRETCHED, weights)) {
      assertTrue(Errors.relative(stretched.forward(in), plain.forward(in)) > 1e-3);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F16", "BF16"})
  void sixteenBitWeightsGiveTheForwardOfTheRoundedWeights(DType storage)
      throws IOException, EngineException {
    TensorSource weights = new SyntheticWeights(TINY, false);
    Path rounded = folder.resolve("rounded.safetensors");
    SafetensorsWriter writer = new SafetensorsWriter();
    for (TensorSpec spec : weights.specs().values()) {
      writer.add(spec, () -> weights.tensor(spec.name()).to(storage).to(DType.F32).bytes());
    }
    writer.write(rounded);
    try (ExportedModel exported = ExportedModel.of(TINY, weights, storage, folder, THREADS);
        TensorSource stored = SafetensorsFile.open(rounded);
        TrainerModel same = new TrainerModel(TINY, stored);
        TrainerModel original = new TrainerModel(TINY, weights)) {
      ForwardInputs in = VerificationPack.of(TINY, RAGGED).inputs();
      float[] found = exported.forward(in);
      within(BOUND, Errors.relative(found, same.forward(in)));
      double rounding = Errors.relative(found, original.forward(in));
      assertTrue(rounding > 1e-4, "the weights were not stored in 16 bits: " + rounding);
      within(0.05, rounding);
    }
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "BF16"})
  void weightsBesideTheFileGiveTheSameBitsAsInside(DType storage)
      throws IOException, EngineException {
    TensorSource weights = new SyntheticWeights(TINY, false);
    ForwardInputs in = VerificationPack.of(TINY, RAGGED).inputs();
    float[] expected;
    try (ExportedModel inside = ExportedModel.of(TINY, weights, storage, folder, THREADS)) {
      assertTrue(inside.file().data().isEmpty());
      expected = inside.forward(in);
    }
    try (ExportedModel beside =
        ExportedModel.of(TINY, weights, storage, folder.resolve("beside"), THREADS, 0)) {
      assertTrue(beside.file().data().isPresent());
      assertArrayEquals(expected, beside.forward(in));
    }
  }

  @Test
  void changingOneImageLeavesEveryOtherBitForBit() throws IOException, EngineException {
    TensorSource weights = new SyntheticWeights(TINY, false);
    try (ExportedModel exported = ExportedModel.of(TINY, weights, DType.F32, folder, 2)) {
      ForwardInputs in = VerificationPack.of(TINY, RAGGED).inputs();
      float[] before = exported.forward(in);
      for (int changed = 0; changed < RAGGED.images(); changed++) {
        FloatBuffer x = FloatBuffer.allocate(in.x().remaining()).put(in.x().duplicate()).flip();
        int from = RAGGED.start(changed) * TINY.tokenSize();
        int to = from + RAGGED.tokens(changed) * TINY.tokenSize();
        for (int i = from; i < to; i++) {
          x.put(i, 3 - 2 * x.get(i));
        }
        float[] after = exported.forward(new ForwardInputs(RAGGED, x, in.t(), in.y(), in.rope()));
        assertArrayEquals(Arrays.copyOf(before, from), Arrays.copyOf(after, from));
        assertArrayEquals(
            Arrays.copyOfRange(before, to, before.length),
            Arrays.copyOfRange(after, to, after.length));
        assertNotEquals(before[from], after[from]);
      }
    }
  }

  @Test
  void anImageInAPackEqualsItselfAlone() throws IOException, EngineException {
    TensorSource weights = new SyntheticWeights(TINY, false);
    try (ExportedModel exported = ExportedModel.of(TINY, weights, DType.F32, folder, THREADS)) {
      ForwardInputs in = VerificationPack.of(TINY, RAGGED).inputs();
      float[] together = exported.forward(in);
      for (int i = 0; i < RAGGED.images(); i++) {
        PackLayout alone = PackLayout.of(new int[] {RAGGED.h(i)}, new int[] {RAGGED.w(i)});
        int from = RAGGED.start(i) * TINY.tokenSize();
        int size = RAGGED.tokens(i) * TINY.tokenSize();
        float[] found =
            exported.forward(
                new ForwardInputs(
                    alone,
                    in.x().duplicate().position(from).limit(from + size).slice(),
                    new float[] {in.t()[i]},
                    new long[] {in.y()[i]},
                    new Rope2d().tables(RopeSpec.of(TINY), alone)));
        within(1e-6, Errors.relative(found, Arrays.copyOfRange(together, from, from + size)));
      }
    }
  }

  private static void within(double bound, double error) {
    assertTrue(
        error <= bound, () -> "expected a relative error of at most " + bound + ", found " + error);
    assertEquals(error, error, "not a number");
  }
}
