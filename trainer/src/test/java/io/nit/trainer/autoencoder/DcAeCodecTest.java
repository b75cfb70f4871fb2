package io.nit.trainer.autoencoder;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.NonFiniteDecodeException;
import io.nit.core.codec.PixelBudget;
import io.nit.core.codec.Tiling;
import io.nit.core.config.DcAeConfig;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import io.nit.trainer.autoencoder.DcAeCodec.Limits;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class DcAeCodecTest {
  private static final PixelBudget MEGAPIXEL = new PixelBudget(1024 * 1024);
  private static final Device CPU = new Device("cpu");
  private static final DcAeConfig CONFIG = GeneratedDcAe.small(); // f8c8, scaling factor 0.5

  @TempDir static Path temp;
  private static DcAeFolder files;

  /** The same network, with activations that half precision cannot hold. */
  private static DcAeFolder loud;

  @BeforeAll
  static void write() throws IOException {
    files = DcAeFolder.open(GeneratedDcAe.write(temp.resolve("plain"), CONFIG));
    loud = DcAeFolder.open(GeneratedDcAe.write(temp.resolve("loud"), CONFIG));
    SafetensorsWriter writer = new SafetensorsWriter();
    List<HostTensor> tensors = new ArrayList<>();
    try (TensorSource source = SafetensorsFile.open(loud.weights())) {
      for (String name : source.specs().keySet()) {
        HostTensor tensor = source.tensor(name);
        if (name.equals("decoder.conv_in.weight") || name.equals("encoder.conv_in.weight")) {
          float[] values = tensor.toFloats();
          for (int i = 0; i < values.length; i++) {
            values[i] *= 1e5f;
          }
          tensor = HostTensor.of(name, values, tensor.shape().dims());
        }
        tensors.add(tensor);
      }
    }
    tensors.forEach(tensor -> writer.add(tensor.spec(), tensor::bytes));
    Path changed = temp.resolve("changed");
    writer.write(changed);
    Files.move(changed, loud.weights(), StandardCopyOption.REPLACE_EXISTING);
  }

  private static DcAeCodec open(DcAeFolder folder, Precision precision, Limits limits)
      throws IOException {
    return DcAeCodec.open(folder, CPU, precision, limits);
  }

  private static float[] latent(int h, int w) {
    return GeneratedDcAe.latent(CONFIG.latentChannels(), h, w);
  }

  @Test
  void latentsAreTheEncodersOutputTimesTheFactorAndBack() throws IOException {
    float[] rgb = GeneratedDcAe.image(16, 24);
    try (DcAeCodec codec = open(files, Precision.F32, Limits.STANDARD);
        DcAe model = DcAe.open(files, CPU, Precision.F32);
        PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor raw = model.encode(Weights.tensor(rgb, CPU, 1, 3, 16, 24));
      float[] latent = codec.encode(rgb, 16, 24);
      assertArrayEquals(Weights.floats(raw.mul(new Scalar(0.5))), latent);
      assertArrayEquals(Weights.floats(model.decode(raw)), codec.decode(latent, 2, 3));
      DcAeSpec spec = (DcAeSpec) codec.spec();
      assertEquals(files.spec(), spec);
      assertEquals(8, codec.factor());
      assertEquals(8, codec.channels());
    }
  }

  @Test
  void picturesAreComputedTogetherUpToTheBudgetAndComeOutInOrder() throws IOException {
    Limits limits = new Limits(Tiling.STANDARD, new PixelBudget(2 * 16 * 24)); // two at once
    List<float[]> pictures = new ArrayList<>();
    for (int i = 0; i < 5; i++) {
      float[] picture = GeneratedDcAe.image(16, 24);
      for (int j = 0; j < picture.length; j++) {
        picture[j] *= 0.2f * (i + 1);
      }
      pictures.add(picture);
    }
    try (DcAe model = DcAe.open(files, CPU, Precision.F32);
        DcAeCodec codec = new DcAeCodec(model, files.spec(), Precision.F32, limits)) {
      List<Long> batches = new ArrayList<>();
      model.observe(
          (name, output) -> {
            if (name.equals("encoder") || name.equals("decoder")) {
              batches.add(output.size(0));
            }
          });
      List<float[]> latents = codec.encodeBatch(pictures, 16, 24);
      List<Decoded> decoded = codec.decodeBatch(latents, 2, 3);
      assertEquals(List.of(2L, 2L, 1L, 2L, 2L, 1L), batches);
      for (int i = 0; i < 5; i++) {
        float[] alone = codec.encode(pictures.get(i), 16, 24);
        assertTrue(Errors.relative(latents.get(i), alone) < 1e-5, "latent " + i);
        float[] picture = codec.decode(latents.get(i), 2, 3);
        assertTrue(Errors.relative(decoded.get(i).rgb(), picture) < 1e-5, "picture " + i);
        assertFalse(decoded.get(i).retried());
      }
      assertTrue(codec.encodeBatch(List.of(), 16, 24).isEmpty());
    }
  }

  @Test
  void largePicturesAreDecodedInTiles() throws IOException {
    Tiling tiling = new Tiling(32, 24, 32 * 32);
    float[] latent = latent(6, 9);
    try (DcAeCodec whole = open(files, Precision.F32, Limits.STANDARD);
        DcAeCodec tiled = open(files, Precision.F32, new Limits(tiling, MEGAPIXEL))) {
      Decoded found = tiled.decodeBatch(List.of(latent), 6, 9).get(0);
      float[] expected = tiling.decode(latent, 6, 9, 8, whole::decode);
      assertArrayEquals(expected, found.rgb());
      assertEquals(2 * 3, found.tiles());
      assertEquals(1, whole.decodeBatch(List.of(latent), 6, 9).get(0).tiles());
    }
    Tiling broken = new Tiling(36, 24, 1024);
    assertThrows(
        IllegalArgumentException.class,
        () -> open(files, Precision.F32, new Limits(broken, MEGAPIXEL)));
  }

  @Test
  void whatOverflowsInHalfPrecisionIsDecodedAgainInSinglePrecision() throws IOException {
    try (DcAeCodec half = open(loud, Precision.F16, Limits.STANDARD);
        DcAeCodec single = open(loud, Precision.F32, Limits.STANDARD)) {
      List<float[]> latents = List.of(new float[8 * 2 * 3], latent(2, 3)); // the first is quiet
      List<Decoded> found = half.decodeBatch(latents, 2, 3);
      assertFalse(found.get(0).retried());
      assertTrue(found.get(1).retried());
      assertArrayEquals(single.decode(latents.get(1), 2, 3), found.get(1).rgb());
      float[] rgb = GeneratedDcAe.image(16, 24);
      assertArrayEquals(single.encode(rgb, 16, 24), half.encode(rgb, 16, 24));
    }
  }

  @Test
  void aTileThatOverflowsMarksItsPicture() throws IOException {
    Limits limits = new Limits(new Tiling(16, 16, 16 * 16), MEGAPIXEL);
    try (DcAeCodec half = open(loud, Precision.F16, limits)) {
      float[] latent = new float[8 * 2 * 6];
      latent[6 * 2 - 1] = 1.5f; // in the last tile of three
      Decoded found = half.decodeBatch(List.of(latent), 2, 6).get(0);
      assertTrue(found.retried());
      assertEquals(3, found.tiles());
      assertTrue(Decoded.finite(found.rgb()));
    }
  }

  @Test
  void whatIsNotFiniteInSinglePrecisionEitherIsNeverReturned() throws IOException {
    float[] latent = latent(2, 3);
    latent[7] = Float.POSITIVE_INFINITY;
    float[] rgb = GeneratedDcAe.image(16, 24);
    rgb[5] = Float.NaN;
    for (Precision precision : Precision.values()) {
      try (DcAeCodec codec = open(files, precision, Limits.STANDARD)) {
        NonFiniteDecodeException failed =
            assertThrows(NonFiniteDecodeException.class, () -> codec.decode(latent, 2, 3));
        assertTrue(failed.getMessage().contains("[8, 2, 3]"), failed.getMessage());
        assertThrows(ArithmeticException.class, () -> codec.encode(rgb, 16, 24));
      }
    }
  }

  @Test
  void aModelInTrainingDecodesAgainByItself() throws IOException {
    DcAe model = DcAe.open(files, CPU, Precision.F32);
    DcAeSpec spec = new DcAeSpec(CONFIG, Optional.empty());
    try (DcAeCodec codec = new DcAeCodec(model, spec, Precision.BF16, Limits.STANDARD)) {
      float[] expected = latent(2, 3);
      float[] picture = codec.decode(expected, 2, 3);
      model.observe(
          (name, output) -> {
            if (name.equals("decoder") && codec.precision() == Precision.of(output.scalar_type())) {
              output.fill_(new Scalar(Float.NaN)); // what an overflow does
            }
          });
      Decoded again = codec.decodeBatch(List.of(expected), 2, 3).get(0);
      assertTrue(again.retried());
      assertTrue(Errors.relative(picture, again.rgb()) < 0.05);
    }
    assertThrows(IllegalStateException.class, () -> model.encode(null));
  }

  @Test
  void aCodecOverOtherWeightsOrConfigsIsRefused() throws IOException {
    try (DcAe half = DcAe.open(files, CPU, Precision.BF16);
        DcAe single = DcAe.open(files, CPU, Precision.F32)) {
      assertThrows(
          IllegalArgumentException.class,
          () -> new DcAeCodec(half, files.spec(), Precision.BF16, Limits.STANDARD));
      assertThrows(
          IllegalArgumentException.class,
          () -> new DcAeCodec(single, files.spec(), Precision.F16, Limits.STANDARD));
      DcAeSpec other = new DcAeSpec(Family.first(), Optional.empty());
      assertThrows(
          IllegalArgumentException.class,
          () -> new DcAeCodec(single, other, Precision.F32, Limits.STANDARD));
    }
  }

  @Test
  void sizesThatDoNotFitAreRefused() throws IOException {
    try (DcAeCodec codec = open(files, Precision.F32, Limits.STANDARD)) {
      Map<int[], Integer> wrong = new LinkedHashMap<>();
      wrong.put(new int[] {12, 16}, 3 * 12 * 16);
      wrong.put(new int[] {4, 8}, 3 * 4 * 8);
      wrong.put(new int[] {0, 8}, 0);
      wrong.put(new int[] {8, 8}, 3 * 8 * 8 - 1);
      wrong.forEach(
          (size, length) ->
              assertThrows(
                  IllegalArgumentException.class,
                  () -> codec.encode(new float[length], size[0], size[1])));
      assertThrows(IllegalArgumentException.class, () -> codec.decode(new float[0], 0, 1));
      assertThrows(IllegalArgumentException.class, () -> codec.decode(new float[9], 1, 1));
    }
  }

  @Test
  void threadsShareACodec() throws Exception {
    ExecutorService pool = Executors.newFixedThreadPool(4);
    try (DcAeCodec codec = open(files, Precision.F32, Limits.STANDARD)) {
      float[] latent = latent(2, 3);
      float[] expected = codec.decode(latent, 2, 3);
      List<Future<float[]>> all = new ArrayList<>();
      for (int i = 0; i < 12; i++) {
        all.add(pool.submit(() -> codec.decode(latent, 2, 3)));
      }
      for (Future<float[]> one : all) {
        assertArrayEquals(expected, one.get());
      }
    } finally {
      pool.shutdownNow();
    }
  }

  @Test
  void aClosedCodecRefusesWorkAndMayBeClosedAgain() throws IOException {
    DcAeCodec codec = open(loud, Precision.F16, Limits.STANDARD);
    codec.decode(latent(2, 3), 2, 3); // opens the second model
    codec.close();
    codec.close();
    assertThrows(IllegalStateException.class, () -> codec.decode(latent(2, 3), 2, 3));
    assertThrows(IllegalStateException.class, () -> codec.encode(new float[3 * 64], 8, 8));
  }

  @Test
  void manyPicturesLeaveNoNativeObjectBehind() throws IOException {
    try (DcAeCodec codec = open(loud, Precision.F16, Limits.STANDARD)) {
      float[] rgb = GeneratedDcAe.image(16, 24);
      codec.decode(codec.encode(rgb, 16, 24), 2, 3); // opens the second model
      System.gc(); // so that what others left does not go uncounted later
      long pointers = Pointer.totalCount();
      for (int i = 0; i < 10; i++) {
        codec.decode(codec.encode(rgb, 16, 24), 2, 3);
      }
      assertTrue(Pointer.totalCount() <= pointers, "native objects grew");
    }
  }
}
