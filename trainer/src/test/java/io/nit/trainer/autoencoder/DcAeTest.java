package io.nit.trainer.autoencoder;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.Decoded;
import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.Shape;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.Function;
import java.util.stream.Stream;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.Arguments;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class DcAeTest {
  private static final Device CPU = new Device("cpu");

  @TempDir static Path folder;

  static Stream<Arguments> family() {
    return Family.members().entrySet().stream()
        .map(entry -> Arguments.of(entry.getKey(), entry.getValue()));
  }

  private static DcAe generated(DcAeConfig config) throws IOException {
    DcAe model = new DcAe(config, CPU);
    model.load(new GeneratedDcAe(config));
    return model;
  }

  private static Tensor image(DcAeConfig config, int cellsHigh, int cellsWide) {
    int h = cellsHigh * config.factor();
    int w = cellsWide * config.factor();
    return Weights.tensor(GeneratedDcAe.image(h, w), CPU, 1, 3, h, w);
  }

  private static float[] encodeAndDecode(DcAe model, ScalarType type) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = image(model.config(), 2, 3).to(type);
      return Weights.floats(model.decode(model.encode(rgb)).to(ScalarType.Float));
    }
  }

  // ---------------------------------------------------------------- Names and weights

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void namesAreTheCheckpointsInForwardOrder(String what, DcAeConfig config) {
    try (DcAe model = new DcAe(config, CPU)) {
      List<String> found = new ArrayList<>();
      model.state().forEach((name, tensor) -> found.add(name + " " + Weights.shape(tensor)));
      List<String> expected = new ArrayList<>();
      DcAeTensors.of(config)
          .values()
          .forEach(spec -> expected.add(spec.name() + " " + spec.shape()));
      assertEquals(expected, found);
      long trained = model.parameters().values().stream().mapToLong(Tensor::numel).sum();
      assertEquals(DcAeTensors.parameters(config), trained);
      assertTrue(model.parameters().values().stream().allMatch(Tensor::requires_grad));
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void everyTensorOfACheckpointIsLoaded(String what, DcAeConfig config) throws IOException {
    try (DcAe model = generated(config)) {
      GeneratedDcAe source = new GeneratedDcAe(config);
      for (Map.Entry<String, Tensor> entry : model.state().entrySet()) {
        Tensor tensor = entry.getValue();
        float[] expected =
            tensor.scalar_type().intern() == ScalarType.Long
                ? new float[] {source.tensor(entry.getKey()).toLongs()[0]}
                : source.tensor(entry.getKey()).toFloats();
        try (PointerScope scope = new PointerScope()) {
          float[] found = Weights.floats(tensor.detach().to(ScalarType.Float));
          assertArrayEquals(expected, found, entry.getKey());
        }
      }
    }
  }

  @Test
  void aCheckpointOfAnotherMemberIsRefusedKeyByKey() {
    try (DcAe model = new DcAe(GeneratedDcAe.small(), CPU)) {
      GeneratedDcAe other = new GeneratedDcAe(Family.first());
      IllegalArgumentException refused =
          assertThrows(IllegalArgumentException.class, () -> model.load(other));
      for (String key :
          List.of("encoder.conv_in.weight", "encoder.conv_in.conv.weight", "running_var")) {
        assertTrue(refused.getMessage().contains(key), refused.getMessage());
      }
    }
  }

  @Test
  void aFolderOpensInThePrecisionAskedFor() throws IOException {
    DcAeConfig config = Family.first();
    DcAeFolder files = DcAeFolder.open(GeneratedDcAe.write(folder.resolve("first"), config));
    try (DcAe single = DcAe.open(files, CPU, Precision.F32);
        DcAe half = DcAe.open(files, CPU, Precision.BF16);
        PointerScope scope = new PointerScope()) {
      assertEquals(Precision.BF16, half.precision());
      half.parameters()
          .forEach(
              (name, tensor) -> {
                Tensor expected = single.parameters().get(name).detach().to(ScalarType.BFloat16);
                assertEquals(ScalarType.BFloat16, tensor.scalar_type().intern(), name);
                assertTrue(tensor.detach().equal(expected), name);
              });
      float[] found = encodeAndDecode(half, ScalarType.BFloat16);
      assertTrue(Errors.relative(found, encodeAndDecode(single, ScalarType.Float)) < 0.05);
    }
  }

  @Test
  void anInitializedModelIsTheSameForASeedAndBeginsNearItsShortcuts() {
    DcAeConfig config = GeneratedDcAe.small();
    try (DcAe one = new DcAe(config, CPU);
        DcAe same = new DcAe(config, CPU);
        DcAe other = new DcAe(config, CPU)) {
      DcAeInitializer.initialize(one, 5);
      DcAeInitializer.initialize(same, 5);
      DcAeInitializer.initialize(other, 6);
      float[] found = encodeAndDecode(one, ScalarType.Float);
      assertArrayEquals(found, encodeAndDecode(same, ScalarType.Float));
      assertNotEquals(found[0], encodeAndDecode(other, ScalarType.Float)[0]);
      assertTrue(Decoded.finite(found));
      double[] share = new double[1];
      one.observe(
          (name, output) -> {
            if (name.matches(".*_blocks\\.\\d\\.\\d\\.norm")) { // the end of a residual branch
              share[0] = Math.max(share[0], output.abs().max().item_float());
            }
          });
      encodeAndDecode(one, ScalarType.Float);
      assertTrue(share[0] > 0 && share[0] < 0.6, "a branch adds up to " + share[0]);
    }
  }

  // ---------------------------------------------------------------- Forwards

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void everyMemberEncodesToItsLatentAndDecodesToThePicture(String what, DcAeConfig config)
      throws IOException {
    try (DcAe model = generated(config);
        PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      for (int[] cells : new int[][] {{1, 1}, {2, 3}, {3, 1}}) {
        Tensor rgb = image(config, cells[0], cells[1]);
        Tensor latent = model.encode(rgb);
        assertEquals(
            Shape.of(1, config.latentChannels(), cells[0], cells[1]), Weights.shape(latent));
        Tensor decoded = model.decode(latent);
        assertEquals(Weights.shape(rgb), Weights.shape(decoded));
        assertTrue(decoded.isfinite().all().item_bool());
        assertTrue(decoded.std().item_float() > 1e-3, "a flat picture");
      }
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void picturesOfABatchDoNotMix(String what, DcAeConfig config) throws IOException {
    try (DcAe model = generated(config);
        PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor one = image(config, 2, 3);
      Tensor other = one.flip(2, 3);
      Tensor both = model.encode(torch.cat(new TensorVector(one, other), 0));
      assertClose(1e-5, model.encode(one), both.narrow(0, 0, 1));
      assertClose(1e-5, model.encode(other), both.narrow(0, 1, 1));
      Tensor pictures = model.decode(both);
      assertClose(1e-5, model.decode(both.narrow(0, 1, 1).contiguous()), pictures.narrow(0, 1, 1));
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void autogradAndTheLayoutInMemoryChangeNothing(String what, DcAeConfig config)
      throws IOException {
    try (DcAe model = generated(config);
        PointerScope scope = new PointerScope()) {
      Tensor rgb = image(config, 2, 3);
      Tensor latent = model.encode(rgb);
      Tensor picture = model.decode(latent);
      assertTrue(picture.requires_grad());
      try (NoGradGuard guard = new NoGradGuard()) {
        float[] before = Weights.floats(rgb);
        assertClose(1e-6, latent, model.encode(rgb));
        assertClose(1e-6, picture, model.decode(latent.detach()));
        model.setChannelsLast(true);
        assertClose(1e-5, latent, model.encode(rgb));
        assertClose(1e-5, picture, model.decode(latent.detach()));
        assertTrue(model.decode(latent.detach()).is_contiguous());
        assertArrayEquals(before, Weights.floats(rgb), "the input was changed");
      }
    }
  }

  private static void assertClose(double bound, Tensor expected, Tensor found) {
    double error = Errors.relative(Weights.floats(found), Weights.floats(expected));
    assertTrue(error <= bound, "relative difference " + error);
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void bf16IsCloseToF32AndLeavesTheWeightsAlone(String what, DcAeConfig config) throws IOException {
    try (DcAe model = generated(config);
        PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = image(config, 2, 3);
      Tensor latent = model.encode(rgb);
      Tensor half = model.encode(rgb.to(ScalarType.BFloat16));
      assertEquals(ScalarType.BFloat16, half.scalar_type().intern());
      assertClose(0.05, latent, half.to(ScalarType.Float));
      Tensor picture = model.decode(latent.to(ScalarType.BFloat16));
      assertEquals(ScalarType.BFloat16, picture.scalar_type().intern());
      assertClose(0.05, model.decode(latent), picture.to(ScalarType.Float));
      model
          .parameters()
          .values()
          .forEach(p -> assertEquals(ScalarType.Float, p.scalar_type().intern()));
    }
  }

  // ---------------------------------------------------------------- Shortcuts

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 8, 12})
  void downsamplingAddsTheMeansOfChannelRuns(int group) {
    int c = 12;
    int out = 4 * c / group;
    float[] x = GeneratedDcAe.latent(2 * c, 4, 6);
    float[] expected = new float[2 * out * 2 * 3];
    for (int n = 0; n < 2; n++) {
      for (int i = 0; i < 4 * c; i++) { // channels after the unshuffle
        for (int y = 0; y < 2; y++) {
          for (int z = 0; z < 3; z++) {
            int from = ((n * c + i / 4) * 4 + 2 * y + i / 2 % 2) * 6 + 2 * z + i % 2;
            expected[((n * out + i / group) * 2 + y) * 3 + z] += x[from] / group;
          }
        }
      }
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor y = torch.zeros(2, out, 2, 3);
      DcAe.Down.addMeans(Weights.tensor(x, CPU, 2, c, 4, 6), y);
      assertArrayEquals(expected, Weights.floats(y), 1e-6f);
    }
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 4, 8, 12})
  void upsamplingAddsRunsOfEqualChannels(int repeats) {
    int out = 6;
    int c = 4 * out / repeats;
    float[] x = GeneratedDcAe.latent(2 * c, 2, 3);
    float[] expected = new float[2 * out * 4 * 6];
    for (int n = 0; n < 2; n++) {
      for (int i = 0; i < 4 * out; i++) { // channels before the shuffle
        for (int y = 0; y < 2; y++) {
          for (int z = 0; z < 3; z++) {
            int to = ((n * out + i / 4) * 4 + 2 * y + i / 2 % 2) * 6 + 2 * z + i % 2;
            expected[to] = x[((n * c + i / repeats) * 2 + y) * 3 + z];
          }
        }
      }
    }
    try (PointerScope scope = new PointerScope()) {
      Tensor y = torch.zeros(2, out, 4, 6);
      DcAe.Up.addRepeats(Weights.tensor(x, CPU, 2, c, 2, 3), y);
      assertArrayEquals(expected, Weights.floats(y));
    }
  }

  // ---------------------------------------------------------------- Gradients

  private static Tensor loss(DcAe model, Tensor rgb) {
    Tensor latent = model.encode(rgb);
    Tensor difference = model.decode(latent).to(ScalarType.Float).sub(rgb.to(ScalarType.Float));
    return difference.square().mean();
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void aFreshModelsGradientsReachEveryParameter(String what, DcAeConfig config) {
    try (DcAe model = new DcAe(config, CPU);
        PointerScope scope = new PointerScope()) {
      DcAeInitializer.initialize(model, 1);
      for (ScalarType type : new ScalarType[] {ScalarType.Float, ScalarType.BFloat16}) {
        model.parameters().values().forEach(p -> p.mutable_grad().reset());
        loss(model, image(config, 2, 3).to(type)).backward();
        model
            .parameters()
            .forEach(
                (name, parameter) -> {
                  Tensor gradient = parameter.grad();
                  assertTrue(gradient.defined(), name + " has no gradient");
                  assertEquals(ScalarType.Float, gradient.scalar_type().intern(), name);
                  assertTrue(gradient.isfinite().all().item_bool(), name);
                  assertTrue(gradient.abs().sum().item_float() > 0, name + ": all zero");
                });
      }
    }
  }

  @ParameterizedTest(name = "{0}")
  @MethodSource("family")
  void theGradientIsTheSlopeOfTheLoss(String what, DcAeConfig config) throws IOException {
    try (DcAe model = generated(config);
        PointerScope scope = new PointerScope()) {
      Tensor rgb = image(config, 2, 3);
      loss(model, rgb).backward();
      double slope = 0;
      List<Tensor> directions = new ArrayList<>();
      try (NoGradGuard guard = new NoGradGuard()) {
        for (Tensor parameter : model.parameters().values()) {
          slope += parameter.grad().square().sum().item_double();
          directions.add(parameter.grad().clone());
        }
        double step = 2e-4 / Math.sqrt(slope); // along the gradient; short, as ReLU has kinks
        double[] losses = new double[2];
        for (int side = 0; side < 2; side++) {
          double move = side == 0 ? step : -2 * step;
          int i = 0;
          for (Tensor parameter : model.parameters().values()) {
            parameter.add_(directions.get(i++), new Scalar(move));
          }
          losses[side] = loss(model, rgb).item_double();
        }
        double found = (losses[0] - losses[1]) / (2 * step);
        assertEquals(slope, found, 0.02 * slope);
      }
    }
  }

  // ---------------------------------------------------------------- Refusals and memory

  @Test
  void sizesOtherThanWholeCellsAreRefused() {
    DcAeConfig config = GeneratedDcAe.small();
    try (DcAe model = new DcAe(config, CPU);
        PointerScope scope = new PointerScope()) {
      for (long[] dims :
          new long[][] {
            {1, 3, 8, 12}, {1, 3, 4, 8}, {1, 3, 0, 8}, {0, 3, 8, 8}, {1, 4, 8, 8}, {3, 8, 8}
          }) {
        IllegalArgumentException refused =
            assertThrows(IllegalArgumentException.class, () -> model.encode(torch.zeros(dims)));
        assertTrue(refused.getMessage().contains("multiples of 8"), refused.getMessage());
        assertTrue(refused.getMessage().contains("found " + Shape.of(dims)), refused.getMessage());
      }
      for (long[] dims : new long[][] {{1, 4, 8, 8}, {1, 8, 0, 1}, {8, 1, 1}}) {
        IllegalArgumentException refused =
            assertThrows(IllegalArgumentException.class, () -> model.decode(torch.zeros(dims)));
        assertTrue(refused.getMessage().contains("[batch, 8,"), refused.getMessage());
      }
    }
  }

  @Test
  void halfPrecisionDecodingIsRefusedUnlessTheModelWasOpenedInIt() throws IOException {
    DcAeConfig config = GeneratedDcAe.small();
    DcAeFolder files = DcAeFolder.open(GeneratedDcAe.write(folder.resolve("half"), config));
    try (DcAe single = DcAe.open(files, CPU, Precision.F32);
        DcAe half = DcAe.open(files, CPU, Precision.F16);
        PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor latent = single.encode(image(config, 2, 3));
      Tensor rounded = latent.to(ScalarType.Half);
      IllegalArgumentException refused =
          assertThrows(IllegalArgumentException.class, () -> single.decode(rounded));
      assertTrue(refused.getMessage().contains("65504"), refused.getMessage());
      assertClose(0.01, single.decode(latent), half.decode(rounded).to(ScalarType.Float));
      assertThrows(
          IllegalArgumentException.class, () -> single.decode(latent.to(ScalarType.Double)));
    }
  }

  @Test
  void precisionsAreParsedAndAutoIsNeverHalf() {
    assertEquals(Precision.F32, Precision.parse("auto", CPU));
    assertEquals(Precision.BF16, Precision.parse("auto", new Device("cuda")));
    assertEquals(Precision.BF16, Precision.parse("BF16", CPU));
    assertEquals(Precision.F16, Precision.parse("f16", CPU));
    IllegalArgumentException refused =
        assertThrows(IllegalArgumentException.class, () -> Precision.parse("half", CPU));
    assertTrue(refused.getMessage().contains("auto, f32, bf16, f16"), refused.getMessage());
  }

  @Test
  void aClosedModelRefusesWorkAndMayBeClosedAgain() {
    DcAeConfig config = GeneratedDcAe.small();
    DcAe model = new DcAe(config, CPU);
    model.close();
    model.close();
    try (PointerScope scope = new PointerScope()) {
      List<Function<Tensor, Tensor>> calls = List.of(model::encode, model::decode);
      for (Function<Tensor, Tensor> call : calls) {
        IllegalStateException refused =
            assertThrows(IllegalStateException.class, () -> call.apply(image(config, 1, 1)));
        assertTrue(refused.getMessage().contains("DcAe"), refused.getMessage());
      }
      assertThrows(IllegalStateException.class, () -> model.load(new GeneratedDcAe(config)));
    }
  }

  @Test
  void nothingOfAForwardOutlivesItsScope() throws IOException {
    try (DcAe model = generated(GeneratedDcAe.small())) {
      for (int i = 0; i < 3; i++) {
        step(model); // fills what libtorch and the JVM keep
      }
      System.gc(); // so that what others left does not go uncounted later
      long pointers = Pointer.totalCount();
      for (int i = 0; i < 10; i++) {
        step(model);
      }
      assertFalse(
          Pointer.totalCount() > pointers,
          "native objects: " + pointers + " before, " + Pointer.totalCount() + " after");
    }
  }

  @Test
  void manyForwardsNeedNoMoreMemoryThanAFew() throws IOException {
    try (DcAe model = generated(GeneratedDcAe.small());
        PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor rgb = image(model.config(), 16, 16);
      long before = 0;
      for (int i = 0; i < 120; i++) {
        if (i == 20) {
          before = Pointer.physicalBytes();
        }
        try (PointerScope one = new PointerScope()) {
          model.decode(model.encode(rgb));
        }
      }
      long growth = Pointer.physicalBytes() - before;
      // One activation of the finest stage is 512 KiB: kept every time, it would be 50 MiB.
      assertTrue(growth < 25L << 20, "grew by " + (growth >> 10) + " KiB");
    }
  }

  private static void step(DcAe model) {
    encodeAndDecode(model, ScalarType.Float);
    try (PointerScope scope = new PointerScope()) {
      loss(model, image(model.config(), 1, 1)).backward();
      model.parameters().values().forEach(p -> p.mutable_grad().reset());
    }
  }
}
