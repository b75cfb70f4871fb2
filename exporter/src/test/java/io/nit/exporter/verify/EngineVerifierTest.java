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
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.testing.EngineOfSizes;
import io.nit.testing.SyntheticWeights;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import org.junit.jupiter.api.Test;

class EngineVerifierTest {
  private static final NitConfig TINY = TinyBundle.CONFIG;

  private static final VerificationPack PACK =
      VerificationPack.of(TINY, PackLayout.of(new int[] {3}, new int[] {5}));

  private static VelocityEngine off(VelocityEngine engine, float part) {
    return new EngineOfSizes.Off(engine, part, EngineOfSizes.Wrong.ALL);
  }

  private static VelocityEngine size(VelocityEngine engine, int tokens) {
    return new EngineOfSizes.Size(engine, tokens, Integer.MAX_VALUE);
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
      return EngineVerifier.sampled(bundle(codec), PACK, off(reference, part), reference);
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

  private static float[] run(VelocityEngine engine, VerificationPack pack) throws EngineException {
    return ExportVerifier.run(engine, pack);
  }

  @Test
  void everyNetworkOfAnEngineIsMeasuredOnThePacksThatItHolds() throws Exception {
    try (ReferenceEngine reference =
        ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY)) {
      VelocityEngine two =
          EngineOfSizes.ofVariants(
              reference, size(off(reference, 0.1f), 16), size(reference, 4096));
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

  @Test
  void everyProfileIsFilledAndOneThatIsOffFails() throws Exception {
    try (ReferenceEngine reference =
        ReferenceEngine.open(new SyntheticWeights(TINY, false), TINY)) {
      VelocityEngine sizes =
          EngineOfSizes.ofProfiles(reference, size(reference, 32), size(off(reference, 0.2f), 96));
      List<Verification> all = EngineVerifier.filled(sizes, run(reference, PACK), PACK, 5e-2);
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
