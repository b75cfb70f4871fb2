package io.nit.trainer.autoencoder;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.Shape;
import io.nit.testing.DcAeGolden;
import io.nit.testing.DcAeGolden.Facts;
import io.nit.testing.GeneratedDcAe;
import io.nit.trainer.model.Devices;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.stream.Stream;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** The published network at full width against diffusers' numbers. */
class DcAeGoldenTest {
  private static final DcAeConfig CONFIG = DcAeConfig.preset("f32c32-sana-1.1");
  private static final Device CPU = new Device("cpu");

  /** In units of the tensor's spread. */
  private static final double BOUND = 1e-5;

  private static DcAe model;

  @BeforeAll
  static void fill() throws IOException {
    Devices.setThreads(Runtime.getRuntime().availableProcessors());
    model = new DcAe(CONFIG, CPU);
    model.load(new GeneratedDcAe(CONFIG));
  }

  @AfterAll
  static void close() {
    model.close();
    Devices.setThreads(1); // as the other tests expect
  }

  static Stream<int[]> sizes() {
    return DcAeGolden.SIZES.stream();
  }

  @ParameterizedTest
  @MethodSource("sizes")
  void everyStageAndBothEndsGiveTheReferencesNumbers(int[] size) {
    int height = size[0];
    int width = size[1];
    Map<String, Facts> stages = DcAeGolden.stages(height, width);
    Map<String, Double> differences = new LinkedHashMap<>();
    model.observe(
        (name, output) -> {
          if (stages.containsKey(name)) {
            differences.put(name, difference(stages.get(name), output));
          }
        });
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = Weights.tensor(GeneratedDcAe.image(height, width), CPU, 1, 3, height, width);
      int f = CONFIG.factor();
      float[] z = GeneratedDcAe.latent(CONFIG.latentChannels(), height / f, width / f);
      Tensor latent = model.encode(rgb);
      differences.put("latent", difference(DcAeGolden.of(height, width, "latent"), latent));
      Tensor decoded =
          model.decode(Weights.tensor(z, CPU, 1, CONFIG.latentChannels(), height / f, width / f));
      differences.put("dec_of_z", difference(DcAeGolden.of(height, width, "dec_of_z"), decoded));
      model.observe(null); // the stages' numbers are of the two above
      Tensor again = model.decode(latent);
      differences.put("roundtrip", difference(DcAeGolden.of(height, width, "roundtrip"), again));
    } finally {
      model.observe(null);
    }
    assertEquals(stages.size() + 3, differences.size(), "compared: " + differences.keySet());
    System.out.println(height + "x" + width + ", differences in spreads: " + differences);
    differences.forEach(
        (name, difference) ->
            assertTrue(difference <= BOUND, name + " differs by " + difference + " spreads"));
  }

  private static double difference(Facts facts, Tensor output) {
    long[] dims = facts.shape().stream().mapToLong(Integer::longValue).toArray();
    assertEquals(Shape.of(dims), Weights.shape(output));
    return facts.difference(Weights.floats(output));
  }
}
