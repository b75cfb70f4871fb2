package io.nit.exporter.verify;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Parity;
import io.nit.exporter.cli.TinyBundle;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.testing.PlainBundle;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

/** The backend {@code reference} reads the weights of a bundle as the exporter writes them. */
class ReferenceBackendTest {
  private static final NitConfig CONFIG = TinyBundle.CONFIG.with(Map.of("patch_size", 2));

  @TempDir Path folder;

  private Bundle bundle(DType storage, long externalAbove) throws IOException {
    Path model =
        OnnxFile.write(
                new NitGraph(CONFIG, storage),
                new SyntheticWeights(CONFIG, false),
                folder.resolve("model.onnx"),
                externalAbove,
                bytes -> {})
            .model();
    return PlainBundle.write(model, CONFIG, 1024);
  }

  private static float[] run(Bundle bundle, String backend) throws Exception {
    try (VelocityEngine engine = Engines.open(bundle, backend, EngineOptions.DEFAULT)) {
      assertEquals(backend, engine.backend());
      return ExportVerifier.run(engine, VerificationPack.of(CONFIG).get(0));
    }
  }

  @ParameterizedTest
  @CsvSource({"F32, 0", "F32, 1000000000", "F16, 0", "BF16, 1000000000"})
  void itsVelocitiesAreOnnxRuntimes(DType storage, long externalAbove) throws Exception {
    Bundle bundle = bundle(storage, externalAbove);
    double error = Parity.of(run(bundle, "ort-cpu"), run(bundle, "reference")).relative();
    assertTrue(error > 0 && error < ExportVerifier.BOUND, "relative error " + error);
  }

  @Test
  void aDataFileThatIsCutOrMissingIsNamed() throws Exception {
    Bundle bundle = bundle(DType.F32, 0);
    Path data = folder.resolve("model.onnx.data");
    try (FileChannel file = FileChannel.open(data, StandardOpenOption.WRITE)) {
      file.truncate(100);
    }
    String message = assertThrows(IOException.class, () -> run(bundle, "reference")).getMessage();
    assertTrue(message.contains("model.onnx.data") && message.contains("found 100"), message);
    Files.delete(data);
    assertThrows(NoSuchFileException.class, () -> run(bundle, "reference"));
  }
}
