package io.nit.exporter.verify;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.exporter.cli.TinyBundle;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.testing.SyntheticWeights;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

class EngineVerifierTest {
  private static final NitConfig TINY = TinyBundle.CONFIG;

  private static final VerificationPack PACK =
      VerificationPack.of(TINY, PackLayout.of(new int[] {3}, new int[] {5}));

  /** An engine that is off by a part of its result. */
  private record Off(VelocityEngine engine, float part) implements VelocityEngine {
    @Override
    public String backend() {
      return "off";
    }

    @Override
    public String description() {
      return "off";
    }

    @Override
    public NitConfig config() {
      return engine.config();
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      int at = v.position();
      engine.forward(in, v);
      for (int i = at; i < v.position(); i++) {
        v.put(i, v.get(i) * (1 + part));
      }
    }

    @Override
    public void close() {}
  }

  private static Bundle bundle(Optional<CodecSpec> codec) {
    return new Bundle(
        Path.of("bundle"),
        TINY,
        "model.onnx",
        "F32",
        20,
        codec,
        Optional.empty(),
        List.of(),
        1024,
        Bundle.SamplingDefaults.STANDARD,
        List.of(),
        JsonNodeFactory.instance.arrayNode(),
        JsonNodeFactory.instance.objectNode());
  }

  private static List<Verification> sampled(Optional<CodecSpec> codec, float part)
      throws Exception {
    try (ReferenceEngine reference =
        ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY)) {
      return EngineVerifier.sampled(bundle(codec), PACK, new Off(reference, part), reference);
    }
  }

  @Test
  void samplesOfAnEngineThatIsExactAreEqual() throws Exception {
    List<Verification> all = sampled(Optional.of(new SpaceToDepthCodec(2)), 0);
    assertEquals(2, all.size());
    assertEquals("4 steps of 3x5", all.get(0).pack());
    assertEquals("4 steps of 3x5, picture", all.get(1).pack());
    for (Verification one : all) {
      assertEquals(0, one.relative());
      assertEquals("equal", one.toNode().get("psnr_db").asText());
      assertFalse(one.toNode().has("passed"), "for information");
      assertTrue(one.passed());
    }
  }

  @Test
  void samplesOfOneThatIsOffHaveAFinitePsnr() throws Exception {
    List<Verification> latents = sampled(Optional.empty(), 0.01f);
    assertEquals(1, latents.size());
    double far = latents.get(0).psnr().orElseThrow();
    double near = sampled(Optional.empty(), 0.001f).get(0).psnr().orElseThrow();
    assertTrue(far > 20 && far < near && near < 100, far + " dB, " + near + " dB");
    assertTrue(latents.get(0).toString().contains(" dB"), latents.get(0).toString());
  }

  /** An engine of two networks: one for few tokens, which is off, and one that is exact. */
  private record Two(VelocityEngine exact, float part) implements VelocityEngine {
    /** One of the two. */
    private record One(VelocityEngine engine, int maxTokens) implements VelocityEngine {
      @Override
      public String backend() {
        return "two";
      }

      @Override
      public String description() {
        return "plan of up to " + maxTokens + " tokens";
      }

      @Override
      public NitConfig config() {
        return engine.config();
      }

      @Override
      public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
        engine.forward(in, v);
      }

      @Override
      public void close() {}
    }

    @Override
    public String backend() {
      return "two";
    }

    @Override
    public String description() {
      return "two";
    }

    @Override
    public NitConfig config() {
      return exact.config();
    }

    @Override
    public List<VelocityEngine> variants() {
      return List.of(new One(new Off(exact, part), 16), new One(exact, 4096));
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      exact.forward(in, v);
    }

    @Override
    public void close() {}
  }

  private static float[] run(VelocityEngine engine, VerificationPack pack) throws EngineException {
    return ExportVerifier.run(engine, pack);
  }

  @Test
  void everyNetworkOfAnEngineIsMeasuredOnThePacksThatItHolds() throws Exception {
    try (ReferenceEngine reference =
        ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY)) {
      VelocityEngine two = new Two(reference, 0.1f);
      List<Verification> all = EngineVerifier.measured(two, run(reference, PACK), PACK, 5e-2);
      assertEquals(
          List.of("3x5, plan of up to 16 tokens", "3x5, plan of up to 4096 tokens"),
          all.stream().map(Verification::pack).toList());
      assertEquals(
          List.of(false, true),
          all.stream().map(Verification::passed).toList(),
          "the first is off");
      VerificationPack larger =
          VerificationPack.of(TINY, PackLayout.of(new int[] {3}, new int[] {6}));
      assertEquals(
          List.of("3x6, plan of up to 4096 tokens"),
          EngineVerifier.measured(two, run(reference, larger), larger, 5e-2).stream()
              .map(Verification::pack)
              .toList());
      assertEquals(
          List.of("3x6"),
          EngineVerifier.measured(reference, run(reference, larger), larger, 5e-2).stream()
              .map(Verification::pack)
              .toList());
    }
  }

  /** An engine of two sizes: its own forward is exact, what one of them gives is off. */
  private record Sizes(VelocityEngine exact, List<VelocityEngine> profiles)
      implements VelocityEngine {
    @Override
    public String backend() {
      return "sizes";
    }

    @Override
    public String description() {
      return "sizes";
    }

    @Override
    public NitConfig config() {
      return exact.config();
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      exact.forward(in, v);
    }

    @Override
    public void close() {}
  }

  @Test
  void everyProfileIsFilledAndOneThatIsOffFails() throws Exception {
    try (ReferenceEngine reference =
        ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY)) {
      VelocityEngine small = new Two.One(reference, 32);
      VelocityEngine wrong = new Two.One(new Off(reference, 0.2f), 96);
      List<Verification> all =
          EngineVerifier.filled(
              new Sizes(reference, List.of(small, wrong)), run(reference, PACK), PACK, 5e-2);
      assertEquals(
          List.of("reference", "that image alone", "reference", "profile of 32 tokens"),
          all.stream().map(Verification::against).toList());
      assertEquals(
          List.of(true, true, false, false), all.stream().map(Verification::passed).toList());
      assertEquals(
          List.of(5e-2, 0.1, 5e-2, 0.1),
          all.stream().map(one -> one.bound().getAsDouble()).toList(),
          "of two profiles both may be off");
      assertTrue(all.get(2).pack().startsWith("96 tokens: "), all.get(2).pack());
      assertTrue(all.get(2).toNode().has("max_abs"));
      assertEquals(List.of(), EngineVerifier.filled(reference, run(reference, PACK), PACK, 5e-2));
    }
  }

  @Test
  void aRatioOfTwoErrorsPassesUpToItsBound() {
    Verification good = ratio(1.4e-2, 1e-2);
    assertTrue(good.passed());
    assertEquals(1.4, good.toNode().get("ratio").asDouble(), 1e-9);
    assertEquals(1e-2, good.toNode().get("pytorch_relative").asDouble());
    assertFalse(ratio(1.6e-2, 1e-2).passed());
    assertFalse(ratio(Double.POSITIVE_INFINITY, 1e-2).passed());
    assertTrue(ratio(0, 0).passed(), "a model that gives nothing but zeros");
    assertFalse(ratio(0, 0).toNode().has("ratio"));
  }

  private static Verification ratio(double relative, double baseline) {
    return new Verification(
        EngineVerifier.TRAINER,
        "tensorrt",
        "3x5",
        1,
        relative,
        OptionalDouble.empty(),
        OptionalDouble.of(baseline),
        OptionalDouble.empty());
  }
}
