package io.nit.trainer.oracle;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.flow.Philox;
import io.nit.core.oracle.ForwardOracle;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Parity;
import io.nit.testing.SyntheticWeights;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class TorchOracleTest {
  private static final NitConfig TINY =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size", 48,
                  "depth", 3,
                  "num_heads", 2,
                  "in_channels", 4,
                  "num_classes", 5,
                  "encoder_depth", 1));

  private static final PackLayout PACK = PackLayout.of(new int[] {3, 1, 6}, new int[] {5, 1, 6});
  private static final float[] TIMES = {0, 0.4f, 1};
  private static final long[] LABELS = {5, 0, 2};

  private static float[] noise(NitConfig config) {
    double[] normals = new Philox(3, 0).normals(PACK.tokens() * config.tokenSize());
    float[] x = new float[normals.length];
    for (int i = 0; i < x.length; i++) {
      x[i] = (float) normals[i];
    }
    return x;
  }

  private static NitConfig variant(String name) {
    return switch (name) {
      case "no_qk_norm" -> TINY.with(Map.of("qk_norm", false));
      case "patch2_lora" ->
          TINY.with(Map.of("patch_size", 2, "use_adaln_lora", true, "adaln_lora_dim", 8));
      case "released" -> TINY.withPositionOrder(PositionOrder.RELEASED);
      default -> TINY;
    };
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "no_qk_norm", "patch2_lora", "released"})
  void inSinglePrecisionTheAutocastForwardIsTheModels(String name) throws Exception {
    NitConfig config = variant(name);
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Device device = new Device("cpu");
      AttentionPath path = AttentionPath.forDevice(device);
      try (NitModel model = new NitModel(config, false, device, path)) {
        Weights.load(model, new SyntheticWeights(config, false));
        long p = config.patchSize();
        Tensor x = Weights.tensor(noise(config), device, PACK.tokens(), config.inChannels(), p, p);
        Tensor t = Weights.tensor(TIMES, device, TIMES.length);
        Tensor y = Weights.indices(LABELS, device);
        PackIndex pack = PackIndex.of(PACK, config, new Rope2d(), device);
        float[] expected = Weights.floats(model.forward(x, t, y, pack, false).v());
        float[] found =
            Weights.floats(
                new AutocastForward(model, path, torch.ScalarType.Float).run(x, t, y, pack));
        double error = Parity.of(found, expected).relative();
        assertTrue(error < 2e-6, name + ": relative error " + error);
      }
    }
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "no_qk_norm", "patch2_lora"})
  void sixteenBitsCostWhatTheirEightDigitsSay(String name) throws Exception {
    NitConfig config = variant(name);
    float[] x = noise(config);
    ForwardOracle oracle =
        ForwardOracle.find(reason -> System.out.println("TorchOracleTest: " + reason))
            .orElseThrow();
    assertTrue(oracle.description().startsWith("libtorch 2."), oracle.description());
    ForwardOracle.Forward forward = oracle.open(config, new SyntheticWeights(config, false));
    float[] exact = forward.velocities(PACK, x, TIMES, LABELS, DType.F32);
    float[] rounded = forward.velocities(PACK, x, TIMES, LABELS, DType.BF16);
    assertEquals(x.length, exact.length);
    double error = Parity.of(rounded, exact).relative();
    System.out.println("  " + name + ": PyTorch's bf16 has a relative error of " + error);
    assertTrue(error > 1e-3 && error < 3e-2, name + ": relative error " + error);
    assertThrows(
        IllegalArgumentException.class,
        () -> forward.velocities(PACK, x, TIMES, LABELS, DType.F16));
    forward.close();
    forward.close();
  }

  @Test
  void aCheckpointOfAnotherShapeIsRefused() {
    Optional<ForwardOracle> oracle = ForwardOracle.find(reason -> {});
    assertThrows(
        IllegalArgumentException.class,
        () ->
            oracle
                .orElseThrow()
                .open(TINY, new SyntheticWeights(TINY.with(Map.of("depth", 2)), false)));
  }
}
