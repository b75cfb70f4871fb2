package io.nit.runtime.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest.Host;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EnginePart;
import io.nit.core.codec.LatentCodec;
import io.nit.core.trt.TensorRt;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.testing.TinyAutoencoder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class TensorRtProviderTest {
  private static final Host HOST = new Host("10.6.0", "12.6", "a GPU", "9.0", Optional.empty());

  @TempDir Path folder;

  private final TensorRtProvider provider = new TensorRtProvider();

  private Bundle bundle() {
    return MadeUpPlans.bundle(folder);
  }

  private void engine() throws IOException {
    MadeUpPlans.engine(folder, HOST, Traits.NONE, "nit-export engine");
  }

  @Test
  void aBundleWithoutAnEngineIsRefusedWithTheLineThatBuildsOne() {
    assertEquals(
        Optional.of(
            "no engine in the bundle; nit-export engine " + folder + " builds one on a GPU"),
        provider.refusal(bundle()));
    assertThrows(EngineException.class, () -> provider.open(bundle(), EngineOptions.DEFAULT));
  }

  @Test
  void withoutTensorRtTheRefusalSaysWhatWasLookedFor() throws IOException {
    engine();
    assumeTrue(TensorRt.refusal(0).isPresent(), "TensorRT is here");
    String refusal = provider.refusal(bundle()).orElseThrow();
    assertTrue(
        refusal.contains("org.bytedeco:tensorrt") || refusal.contains("CUDA device"), refusal);
  }

  @Test
  void aManifestThatCannotBeReadIsARefusalAndNoFailure() throws IOException {
    engine();
    Files.writeString(folder.resolve("engine.plan.json"), "{");
    String refusal = provider.refusal(bundle()).orElseThrow();
    assertTrue(refusal.contains("engine.plan.json"), refusal);
  }

  private void half(EnginePart part, String hash) throws IOException {
    MadeUpPlans.half(folder, part, hash, HOST, "nit-export engine");
  }

  @Test
  void anAutoencoderWithoutADecodersEngineIsRefusedWithTheLineThatBuildsOne() throws IOException {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    String decoder =
        "no decoder's engine in the bundle; nit-export engine "
            + folder
            + " --parts decoder builds one on a GPU";
    // A bundle without any engine needs one command for all, and one reason.
    Optional<String> none = provider.codecRefusal(bundle, EngineOptions.DEFAULT);
    assertEquals(provider.refusal(bundle), none);
    String message =
        assertThrows(EngineException.class, () -> provider.openCodec(bundle, EngineOptions.DEFAULT))
            .getMessage();
    assertEquals(none.orElseThrow(), message);
    half(EnginePart.ENCODER, "hash");
    assertEquals(Optional.of(decoder), provider.codecRefusal(bundle, EngineOptions.DEFAULT));
    half(EnginePart.DECODER, "hash");
    Files.delete(folder.resolve("encoder-bf16.plan"));
    String encoder = provider.encoderRefusal(bundle, EngineOptions.DEFAULT).orElseThrow();
    assertNotEquals(decoder, encoder);
    assertEquals(
        Optional.of(
            "no engine in the bundle; nit-export engine " + folder + " builds one on a GPU"),
        provider.refusal(bundle));
  }

  @Test
  void withoutTensorRtABundleWithADecodersEngineIsDecodedByTheNextBackend() throws Exception {
    assumeTrue(TensorRt.refusal(0).isPresent(), "TensorRT is here");
    Bundle bundle = TinyAutoencoder.bundle(folder);
    half(EnginePart.DECODER, "hash");
    try (LatentCodec codec =
        Engines.openCodec(bundle, Engines.AUTO, EngineOptions.DEFAULT).orElseThrow()) {
      assertEquals(3 * 8 * 16, codec.decode(new float[8 * 2], 1, 2).length);
    }
    String message =
        assertThrows(
                EngineException.class,
                () -> Engines.openCodec(bundle, "tensorrt", EngineOptions.DEFAULT))
            .getMessage();
    assertTrue(message.contains("backend tensorrt cannot run " + folder), message);
    assertTrue(
        message.contains("org.bytedeco:tensorrt") || message.contains("CUDA device"), message);
  }
}
