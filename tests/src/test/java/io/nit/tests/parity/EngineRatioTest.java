package io.nit.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.oracle.ForwardOracle;
import io.nit.core.tensor.DType;
import io.nit.exporter.verify.EngineVerifier;
import io.nit.exporter.verify.Verification;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.testing.SyntheticWeights;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** An engine's error held against the one that PyTorch's own bf16 makes. */
class EngineRatioTest {
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

  private static final SyntheticWeights WEIGHTS = new SyntheticWeights(TINY, false);

  /** What stands in for an engine in bf16. */
  private interface Forward {
    float[] velocities(ForwardInputs in, float[] x) throws Exception;
  }

  private record Fake(Forward made) implements VelocityEngine {
    @Override
    public String backend() {
      return "fake";
    }

    @Override
    public String description() {
      return "fake";
    }

    @Override
    public NitConfig config() {
      return TINY;
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) {
      float[] x = new float[in.x().remaining()];
      in.x().duplicate().get(x);
      try {
        v.put(made.velocities(in, x));
      } catch (Exception e) {
        throw new IllegalStateException(e);
      }
    }

    @Override
    public void close() {}
  }

  private static Verification ratio(VelocityEngine engine) throws Exception {
    List<VerificationPack> packs = new ArrayList<>(VerificationPack.of(TINY));
    packs.add(VerificationPack.mixed(TINY));
    Verification result = EngineVerifier.againstTrainer(engine, WEIGHTS, packs, DType.BF16).get(0);
    System.out.println("  " + result);
    return result;
  }

  @Test
  void anExactEnginePassesAndOneThatRoundsAsPyTorchDoesHasARatioOfOne() throws Exception {
    try (ReferenceEngine exact = ReferenceEngine.open(WEIGHTS, TINY)) {
      Verification result = ratio(exact);
      assertTrue(result.passed() && result.relative() < 2e-5, result.toString());
    }
    ForwardOracle oracle = ForwardOracle.find(reason -> {}).orElseThrow();
    try (ForwardOracle.Forward torch = oracle.open(TINY, WEIGHTS)) {
      Verification result =
          ratio(new Fake((in, x) -> torch.velocities(in.layout(), x, in.t(), in.y(), DType.BF16)));
      assertTrue(result.passed(), result.toString());
      assertEquals(1, result.toNode().get("ratio").asDouble(), 1e-6);
      assertTrue(result.toNode().get("passed").asBoolean());
    }
  }

  @Test
  void anEngineInSinglePrecisionIsHeldToTheTrainerByABoundAlone() throws Exception {
    List<VerificationPack> packs = List.of(VerificationPack.mixed(TINY));
    try (ReferenceEngine exact = ReferenceEngine.open(WEIGHTS, TINY)) {
      Verification result = EngineVerifier.againstTrainer(exact, WEIGHTS, packs, DType.F32).get(0);
      assertTrue(result.passed() && result.relative() < 2e-5, result.toString());
      assertEquals(1e-4, result.bound().getAsDouble());
      assertTrue(result.baseline().isEmpty());
      VelocityEngine off =
          new Fake(
              (in, x) -> {
                FloatBuffer v = FloatBuffer.allocate(x.length);
                exact.forward(in, v);
                v.put(x.length / 2, v.get(x.length / 2) + 1);
                return v.array();
              });
      assertFalse(EngineVerifier.againstTrainer(off, WEIGHTS, packs, DType.F32).get(0).passed());
    }
  }

  @Test
  void anEngineThatIsWorseThanPyTorchFailsWithBothErrors() throws Exception {
    ForwardOracle oracle = ForwardOracle.find(reason -> {}).orElseThrow();
    try (ForwardOracle.Forward torch = oracle.open(TINY, WEIGHTS)) {
      Verification result =
          ratio(
              new Fake(
                  (in, x) -> {
                    float[] exact = torch.velocities(in.layout(), x, in.t(), in.y(), DType.F32);
                    float[] found = torch.velocities(in.layout(), x, in.t(), in.y(), DType.BF16);
                    for (int i = 0; i < found.length; i++) {
                      found[i] = exact[i] + 2 * (found[i] - exact[i]);
                    }
                    return found;
                  }));
      assertFalse(result.passed());
      assertEquals(2, result.relative() / result.baseline().getAsDouble(), 1e-2);
      assertTrue(
          result.toString().contains("fake against trainer-f32")
              && result.toString().contains("ratio 2.00 (at most 1.5)"),
          result.toString());
    }
  }
}
