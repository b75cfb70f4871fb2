package io.nit.runtime.trt;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Host;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EnginePart;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.config.NitConfig;
import io.nit.testing.PlainBundle;
import io.nit.testing.TinyAutoencoder;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/** Plans of ten bytes that TensorRT would not take, with manifests that say what they compute. */
final class MadeUpPlans {
  private static final int BYTES = 10;

  private MadeUpPlans() {}

  /** The bundle whose model {@link #engine} is of. */
  static Bundle bundle(Path folder) {
    return PlainBundle.of(
        folder,
        NitConfig.s(),
        "model.onnx",
        "F32",
        64,
        List.of(new Bundle.FileEntry("model.onnx", 1, "model")));
  }

  /** Writes engine.plan. */
  static void engine(Path folder, Host host, Traits traits, String command) throws IOException {
    engine(
        folder,
        host,
        traits,
        command,
        List.of(new EngineManifest.Profile(64, 64)),
        new byte[BYTES]);
  }

  /** Writes engine.plan with these profiles and bytes. */
  static void engine(
      Path folder,
      Host host,
      Traits traits,
      String command,
      List<EngineManifest.Profile> profiles,
      byte[] bytes)
      throws IOException {
    EngineSubject subject = new EngineSubject.Model(NitConfig.s(), profiles);
    write(folder, "engine.plan", "model", subject, host, traits, command, bytes);
  }

  /**
   * Writes the plan of a half of {@link TinyAutoencoder}.
   *
   * @param hash of the half's ONNX file
   */
  static void half(Path folder, EnginePart part, String hash, Host host, String command)
      throws IOException {
    EngineSubject subject =
        new EngineSubject.Autoencoder(
            part, TinyAutoencoder.CONFIG, List.of(new EngineSubject.PictureProfile(64, 1)));
    write(
        folder,
        part.planPrefix() + "-bf16.plan",
        hash,
        subject,
        host,
        Traits.NONE,
        command,
        new byte[BYTES]);
  }

  private static void write(
      Path folder,
      String name,
      String model,
      EngineSubject subject,
      Host host,
      Traits traits,
      String command,
      byte[] bytes)
      throws IOException {
    Files.write(folder.resolve(name), bytes);
    new EngineManifest(
            name,
            bytes.length,
            "hash",
            model,
            subject,
            "BF16",
            host,
            traits,
            JsonNodeFactory.instance.arrayNode(),
            command,
            JsonNodeFactory.instance.objectNode())
        .write(folder);
  }
}
