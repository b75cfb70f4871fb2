package io.nit.runtime.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Profile;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Sha256;
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
                "engine-bf16.plan, BF16, 5 MiB, weights fixed, for NVIDIA H100; profiles of "
                    + profiles),
        run.out());
    JsonNode engine = new ObjectMapper().readTree(info("--json").out()).get("engines").get(0);
    assertEquals(profiles, engine.get("profiles").asText());
    Files.writeString(folder.resolve("engine-bf16.plan.json"), "{");
    run = info();
    assertEquals(0, run.code(), run.err());
    assertTrue(run.out().contains("an engine's manifest cannot be read: "), run.out());
  }
}
