package io.nit.exporter.onnx;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.DcAeGraph.Part;
import io.nit.testing.DcAeGolden;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The f32c32 files at full width, 1.25 GB, against what diffusers' implementation gives. */
class DcAeGoldenTest {
  private static final double BOUND = 5e-5;
  private static final DcAeConfig CONFIG = DcAeConfig.preset("f32c32-sana-1.1");

  @TempDir Path folder;

  @Test
  void theFilesGiveDiffusersNumbers() throws IOException, OrtException {
    Map<String, Double> errors = new LinkedHashMap<>();
    Map<String, float[]> latents = new LinkedHashMap<>();
    Path file = write(Part.ENCODER);
    try (OrtFile encoder = new OrtFile(file)) {
      for (int[] size : DcAeGolden.SIZES) {
        float[] latent = encoder.run(GeneratedDcAe.image(size[0], size[1]), 1, 3, size[0], size[1]);
        note(errors, size, "latent", latent);
        latents.put(size[0] + "x" + size[1], latent);
      }
    }
    Files.delete(file);
    file = write(Part.DECODER);
    try (OrtFile decoder = new OrtFile(file)) {
      for (int[] size : DcAeGolden.SIZES) {
        int h = size[0] / 32;
        int w = size[1] / 32;
        note(errors, size, "dec_of_z", decoder.run(GeneratedDcAe.latent(32, h, w), 1, 32, h, w));
        float[] latent = latents.get(size[0] + "x" + size[1]);
        note(errors, size, "roundtrip", decoder.run(latent, 1, 32, h, w));
      }
    }
    Files.delete(file);
    assertTrue(errors.values().stream().allMatch(error -> error <= BOUND), errors::toString);
  }

  private static void note(Map<String, Double> errors, int[] size, String name, float[] found) {
    errors.put(
        name + " at " + size[0] + "x" + size[1],
        DcAeGolden.of(size[0], size[1], name).difference(found));
  }

  private Path write(Part part) throws IOException {
    return OnnxFile.write(
            new DcAeGraph(CONFIG, part, DType.F32, DType.F32),
            new GeneratedDcAe(CONFIG),
            folder.resolve(part.key() + ".onnx"),
            OnnxFile.EXTERNAL_DATA_ABOVE,
            bytes -> {})
        .model();
  }
}
