package io.nit.exporter.onnx;

import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.DcAeGraph.Part;
import io.nit.runtime.engine.ref.DcAeForward;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.stream.Stream;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

class DcAeGraphTest {
  private static final double BOUND = 5e-5;
  // Latent heights and widths: one cell, both ways non-square, odd, more tokens than d.
  private static final int[][] SIZES = {{1, 1}, {3, 1}, {5, 7}, {2, 9}};

  @TempDir Path folder;

  static Stream<String> family() {
    return Arrays.stream(TestAutoencoders.NAMES);
  }

  @ParameterizedTest
  @MethodSource("family")
  void everyMemberEqualsTheReferenceAtEverySizeAndBatchInOneSession(String name)
      throws IOException, OrtException {
    DcAeConfig config = TestAutoencoders.of(name);
    GeneratedDcAe weights = new GeneratedDcAe(config);
    DcAeForward reference = new DcAeForward(weights, config);
    int f = config.factor();
    int c = config.latentChannels();
    try (OrtFile encoder = open(config, weights, Part.ENCODER);
        OrtFile decoder = open(config, weights, Part.DECODER)) {
      for (int[] size : SIZES) {
        int h = size[0];
        int w = size[1];
        for (int batch : new int[] {1, 3}) {
          float[] pictures = GeneratedDcAe.image(batch * h * f, w * f);
          float[] latents = GeneratedDcAe.latent(batch * c, h, w);
          float[] encoded = encoder.run(pictures, batch, 3, h * f, w * f);
          float[] decoded = decoder.run(latents, batch, c, h, w);
          for (int i = 0; i < batch; i++) {
            String at = name + " " + h + "x" + w + " picture " + i;
            within(
                at,
                part(encoded, batch, i),
                reference.encode(part(pictures, batch, i), h * f, w * f));
            within(at, part(decoded, batch, i), reference.decode(part(latents, batch, i), h, w));
          }
        }
      }
    }
  }

  private OrtFile open(DcAeConfig config, GeneratedDcAe weights, Part part)
      throws IOException, OrtException {
    OnnxFile file =
        OnnxFile.write(
            new DcAeGraph(config, part, DType.F32, DType.F32),
            weights,
            folder.resolve(part.key() + ".onnx"),
            OnnxFile.EXTERNAL_DATA_ABOVE,
            bytes -> {});
    return new OrtFile(file.model());
  }

  private static float[] part(float[] batch, int count, int i) {
    int size = batch.length / count;
    return Arrays.copyOfRange(batch, i * size, (i + 1) * size);
  }

  private static void within(String what, float[] found, float[] expected) {
    double mean = 0;
    double squares = 0;
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      mean += expected[i] / (double) expected.length;
      squares += (double) expected[i] * expected[i] / expected.length;
      largest = Math.max(largest, Math.abs((double) found[i] - expected[i]));
    }
    double error = largest / Math.sqrt(squares - mean * mean);
    assertTrue(error <= BOUND, what + ": " + error);
  }
}
