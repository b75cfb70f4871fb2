package io.nit.core.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.DcAeConfig;
import io.nit.testing.DcAeGolden;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.Golden;
import java.io.IOException;
import java.nio.file.Files;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class DcAeTensorsTest {
  @Test
  void namesShapesAndOrderAreThoseOfTheReleasedCheckpoint() throws IOException {
    List<String> expected = Files.readAllLines(Golden.file("golden/dcae/keys.tsv"));
    List<String> found = new ArrayList<>();
    DcAeTensors.of(DcAeConfig.preset("f32c32-sana-1.1"))
        .forEach((name, spec) -> found.add(name + "\t" + spec.shape()));
    assertEquals(375, expected.size());
    assertEquals(expected, found);
  }

  @ParameterizedTest
  @CsvSource({
    "f32c32-sana-1.0, 312250275, 0, 375",
    "f32c32-in-1.0, 323356460, 12815, 362",
    "f64c128-mix-1.0, 676896140, 12815, 418",
    "f128c512-in-1.0, 1120682252, 12815, 474",
    "lite-f32c32-sana-1.1, 421181228, 0, 293"
  })
  void everyPublishedMemberHasItsParametersAndKeys(
      String preset, long parameters, long statistics, int keys) {
    DcAeConfig config = DcAeConfig.preset(preset);
    Map<String, TensorSpec> all = DcAeTensors.of(config);
    assertEquals(parameters, DcAeTensors.parameters(config));
    assertEquals(keys, all.size());
    assertEquals(
        statistics, all.values().stream().mapToLong(s -> s.shape().elements()).sum() - parameters);
    assertEquals(statistics > 0, config.hasBatchNorm());
  }

  @Test
  void aCheckpointOfAnotherFamilyIsRefusedKeyByKey() {
    DcAeConfig sana = DcAeConfig.preset("f32c32-sana-1.1");
    Map<String, TensorSpec> other = DcAeTensors.of(DcAeConfig.preset("f32c32-in-1.0"));
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> DcAeTensors.require(sana, other, "in.safetensors"))
            .getMessage();
    assertTrue(
        message.contains(
            "encoder.conv_in.weight: expected [128, 3, 3, 3], found nothing in in.safetensors"),
        message);
    assertTrue(message.contains("encoder.conv_in.conv.weight"), "and those it has: " + message);
  }

  @Test
  void aTensorOfAnotherShapeOrTypeIsNamed() {
    DcAeConfig config = DcAeConfig.preset("f32c32-in-1.0");
    Map<String, TensorSpec> found = new LinkedHashMap<>(DcAeTensors.of(config));
    String conv = "decoder.conv_in.weight";
    found.put(conv, new TensorSpec(conv, DType.F32, Shape.of(32, 1024, 3, 3)));
    String batches = "decoder.up_blocks.1.1.norm.num_batches_tracked";
    found.put(batches, new TensorSpec(batches, DType.F32, Shape.of()));
    String message =
        assertThrows(IllegalArgumentException.class, () -> DcAeTensors.require(config, found, "x"))
            .getMessage();
    assertTrue(
        message.contains(conv + ": expected [1024, 32, 3, 3], found [32, 1024, 3, 3] in x"),
        message);
    assertTrue(message.contains(batches + ": expected I64, found F32 in x"), message);
    assertTrue(message.contains("(2 differences)"), message);
  }

  @Test
  void theGeneratorMakesTheGoldenWeightsAndInputs() {
    GeneratedDcAe weights = new GeneratedDcAe(DcAeConfig.preset("f32c32-sana-1.1"));
    DcAeGolden.weights()
        .forEach(
            (name, first) -> {
              float[] found = weights.tensor(name).toFloats();
              assertArrayEquals(first, widen(Arrays.copyOf(found, first.length)), 1e-9, name);
            });
    for (int[] size : DcAeGolden.SIZES) {
      float[] image = GeneratedDcAe.image(size[0], size[1]);
      assertTrue(DcAeGolden.of(size[0], size[1], "input").difference(image) < 1e-6);
      float[] latent = GeneratedDcAe.latent(32, size[0] / 32, size[1] / 32);
      assertTrue(DcAeGolden.of(size[0], size[1], "z").difference(latent) < 1e-6);
    }
  }

  private static double[] widen(float[] values) {
    double[] wide = new double[values.length];
    for (int i = 0; i < wide.length; i++) {
      wide[i] = values[i];
    }
    return wide;
  }
}
