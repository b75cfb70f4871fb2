package io.nit.runtime.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Profile;
import io.nit.core.bundle.EnginePart;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Sha256;
import io.nit.core.trt.TensorRt;
import io.nit.runtime.trt.TensorRtProvider.Listed;
import io.nit.testing.CapturedRun;
import io.nit.testing.PlainBundle;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class InfoTest {
  @TempDir Path folder;

  @BeforeEach
  void aBundle() throws IOException {
    Path model = Files.write(folder.resolve("model.onnx"), new byte[10]);
    PlainBundle.write(model, NitConfig.s(), 4096);
  }

  private CapturedRun info(String... more) {
    List<String> words = new ArrayList<>(List.of("info", "--bundle", folder.toString()));
    words.addAll(List.of(more));
    return CapturedRun.of(new Run(), words.toArray());
  }

  @Test
  void verifyComparesPlansWithTheirHashes() throws IOException {
    Path plan = Files.write(folder.resolve("engine-bf16.plan"), new byte[3]);
    write(plan, Sha256.of(plan), 3);
    CapturedRun run = info("--verify");
    assertEquals(0, run.code(), run.err());
    Files.write(plan, new byte[] {0, 1, 0});
    assertEquals(0, info().code());
    run = info("--verify");
    assertEquals(1, run.code(), run.err());
    assertTrue(
        run.err().contains("engine-bf16.plan does not fit: plan.sha256: expected ")
            && run.err().contains("Build it again with: nit-export engine"),
        run.err());
  }

  private void write(Path plan, String hash, long bytes) throws IOException {
    new EngineManifest(
            plan.getFileName().toString(),
            bytes,
            hash,
            "model",
            NitConfig.s(),
            "BF16",
            List.of(new Profile(512, 512, PackPlan.SMALL), new Profile(4096, 1024)),
            new EngineManifest.Host("10.6.0", "12.6", "NVIDIA H100", "9.0", Optional.empty()),
            EngineManifest.Traits.NONE,
            JsonNodeFactory.instance.arrayNode(),
            "nit-export engine",
            JsonNodeFactory.instance.objectNode())
        .write(folder);
  }

  @Test
  void enginesAreListedWithThePlanOfEachProfile() throws IOException {
    assertFalse(info().out().contains("engine-bf16.plan"));
    write(Files.write(folder.resolve("engine-bf16.plan"), new byte[3]), "hash", 5L << 20);
    CapturedRun run = info();
    assertEquals(0, run.code(), run.err());
    String profiles = "512 tokens in 512 images (small plan), 4096 tokens in 1024 images";
    assertTrue(
        run.out()
            .contains(
                "engine-bf16.plan, model, BF16, 5 MiB, weights fixed, for NVIDIA H100; profiles of "
                    + profiles),
        run.out());
    JsonNode engine = new ObjectMapper().readTree(info("--json").out()).get("engines").get(0);
    assertEquals(profiles, engine.get("profiles").asText());
    assertTrue(run.out().contains("verified    engine-bf16.plan: no"), run.out());
    Files.writeString(folder.resolve("engine-bf16.plan.json"), "{");
    run = info();
    assertEquals(0, run.code(), run.err());
    assertTrue(
        run.out().contains("engine      engine-bf16.plan: its manifest cannot be read: "),
        run.out());
    String error =
        new ObjectMapper().readTree(info("--json").out()).at("/engines/0/error").asText();
    assertTrue(error.contains("engine-bf16.plan.json: expected JSON"), error);
    assertEquals(1, info("--verify").code());
  }

  @Test
  void everyPartIsListedWithItsErrorsAndWhetherItRunsOnTheDevice() throws IOException {
    write(Files.write(folder.resolve("engine-bf16.plan"), new byte[3]), "hash", 3);
    Path decoder = Files.write(folder.resolve("decoder-f16.plan"), new byte[3]);
    new EngineManifest(
            "decoder-f16.plan",
            3,
            "hash",
            "decoder",
            new EngineSubject.Autoencoder(
                EnginePart.DECODER,
                DcAeConfig.preset("f32c32-sana-1.1"),
                List.of(new EngineSubject.PictureProfile(512, 1))),
            "F16",
            new EngineManifest.Host("10.6.0", "12.6", "NVIDIA H100", "9.0", Optional.empty()),
            EngineManifest.Traits.NONE,
            JsonNodeFactory.instance.arrayNode(),
            "nit-export engine",
            JsonNodeFactory.instance.objectNode())
        .write(folder);
    assumeTrue(TensorRt.refusal(3).isPresent(), "there is a fourth GPU");
    JsonNode engines =
        new ObjectMapper().readTree(info("--json", "--device", "3").out()).get("engines");
    assertEquals(2, engines.size());
    assertEquals("model", engines.get(0).get("part").asText());
    assertEquals("decoder", engines.get(1).get("part").asText());
    for (JsonNode engine : engines) {
      assertFalse(engine.get("fits").asBoolean());
      assertEquals(TensorRt.refusal(3).orElseThrow(), engine.get("reason").asText());
    }
    assertTrue(info().out().contains("1 of up to 512 pixels a side"), info().out());
    CapturedRun run = info("--device", "-1");
    assertEquals(2, run.code(), run.err());
    assertTrue(run.err().contains("--device: expected 0 or more, found -1"), run.err());
    EngineManifest manifest = EngineManifest.read(decoder);
    manifest
        .verification()
        .addObject()
        .put("against", "ort-cpu")
        .put("backend", "tensorrt")
        .put("pack", "64x48")
        .put("max_abs", 0.25)
        .put("relative", 0.125)
        .put("ratio", 1.5)
        .put("psnr_db", 42.5);
    StringBuilder text = new StringBuilder();
    JsonNode engine =
        Info.engine(
            new Listed(
                new EngineManifest.Found(decoder, Optional.of(manifest), ""), Optional.empty()));
    Info.engine(text, engine);
    assertEquals(
        List.of(
            "engine      decoder-f16.plan, decoder, F16, 0 MiB, weights fixed, for NVIDIA H100;"
                + " profiles of 1 of up to 512 pixels a side; runs here",
            "verified    decoder-f16.plan: tensorrt against ort-cpu on images of 64x48 tokens: relative"
                + " error 1.25e-01, 1.5 times PyTorch's own, largest 2.50e-01, PSNR 42.5 dB"),
        text.toString().lines().toList());
    assertTrue(engine.get("fits").asBoolean());
  }
}
