package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.NonFiniteDecodeException;
import io.nit.core.codec.Tiling;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.Engines;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import io.nit.testing.TinyAutoencoder;
import io.nit.testing.TinyAutoencoder.Decoder;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OrtAutoencoderTest {
  private static final float SCALE = (float) TinyAutoencoder.CONFIG.scalingFactor();
  private static final Tiling WHOLE = new Tiling(1024, 896, 1024 * 1024);

  @TempDir Path folder;

  @Test
  void theBackendOpensTheBundlesAutoencoderAndNoScalingIsLeftOut() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    try (LatentCodec codec =
        Engines.openCodec(bundle, "ort-cpu", EngineOptions.DEFAULT).orElseThrow()) {
      assertEquals(8, codec.factor());
      assertEquals(bundle.codec().orElseThrow(), codec.spec());
      float[] picture = GeneratedDcAe.image(16, 24);
      float[] latent = codec.encode(picture, 16, 24);
      assertEquals(8 * 2 * 3, latent.length);
      // The files are linear, so the scaling factor shows in their values.
      float[] halved = latent.clone();
      for (int i = 0; i < halved.length; i++) {
        halved[i] *= 0.5f;
      }
      float[] whole = codec.decode(latent, 2, 3);
      float[] half = codec.decode(halved, 2, 3);
      for (int i = 0; i < whole.length; i++) {
        assertEquals(whole[i], 2 * half[i], 1e-6f);
      }
      assertEquals(0.5f, SCALE);
      float[] plain = session(bundle.file("encoder.onnx"), "rgb", picture, 3, 16, 24, "latent");
      assertArrayEquals(times(plain, SCALE), latent);
      assertArrayEquals(decoded(bundle, times(latent, 1 / SCALE), 2, 3), whole);
    }
  }

  @Test
  void latentsOfOneSizeAreDecodedTogetherUpToThePixelBudget() throws Exception {
    // 5 pictures of 16x16 in runs of 2, 2 and 1.
    try (OrtAutoencoder codec = open(new DecodeOptions(WHOLE, 2 * 256 + 255));
        OrtAutoencoder single = open(DecodeOptions.STANDARD)) {
      assertEquals(2, codec.decodeBatchLimit(2, 2));
      assertEquals(1, codec.decodeBatchLimit(8, 8));
      assertEquals(1, single.decodeBatchLimit(2, 2));
      List<float[]> latents = latents(5, 2, 2);
      List<Decoded> together = codec.decodeBatch(latents, 2, 2);
      for (int i = 0; i < latents.size(); i++) {
        float[] alone = single.decode(latents.get(i), 2, 2);
        assertTrue(Errors.relative(together.get(i).rgb(), alone) < 1e-6, "latent " + i);
        assertEquals(1, together.get(i).tiles());
        assertFalse(together.get(i).retried());
      }
      // Another size after it: nothing of the larger one is left in the buffers.
      float[] small = latents(1, 1, 3).get(0);
      assertArrayEquals(single.decode(small, 1, 3), codec.decode(small, 1, 3));
      assertEquals(3 * 8 * 24, codec.decode(small, 1, 3).length);
    }
  }

  @Test
  void picturesEncodedTogetherAreThoseEncodedAlone() throws Exception {
    try (OrtAutoencoder codec = open(new DecodeOptions(WHOLE, 1 << 20))) {
      List<float[]> pictures =
          List.of(GeneratedDcAe.image(8, 16), new float[3 * 8 * 16], GeneratedDcAe.image(8, 16));
      List<float[]> latents = codec.encodeBatch(pictures, 8, 16);
      for (int i = 0; i < pictures.size(); i++) {
        assertTrue(
            Errors.relative(latents.get(i), codec.encode(pictures.get(i), 8, 16)) < 1e-6,
            "picture " + i);
      }
    }
  }

  @Test
  void aLargePictureIsDecodedInTilesAsTheRuleSays() throws Exception {
    Tiling tiling = new Tiling(32, 24, 40 * 40);
    Bundle bundle = TinyAutoencoder.bundle(folder);
    try (OrtAutoencoder codec = open(bundle, new DecodeOptions(tiling, 1 << 20))) {
      float[] latent = latents(1, 6, 7).get(0); // 48x56 pixels: tiles begin at 0, 24, 48
      Decoded tiled = codec.decodeBatch(List.of(latent), 6, 7).get(0);
      assertEquals(2 * 3, tiled.tiles());
      assertEquals(1, codec.decodeBatchLimit(6, 7));
      float[] expected =
          tiling.decode(
              times(latent, 1 / SCALE), 6, 7, 8, (part, h, w) -> decoded(bundle, part, h, w));
      assertArrayEquals(expected, tiled.rgb());
      float[] whole = decoded(bundle, times(latent, 1 / SCALE), 6, 7);
      assertTrue(Errors.relative(tiled.rgb(), whole) > 1e-3, "the tiles show in this model");
      float[] small = latents(1, 5, 5).get(0); // 40x40 is not above the limit
      assertEquals(1, codec.decodeBatch(List.of(small), 5, 5).get(0).tiles());
    }
  }

  @Test
  void anOverflowIsDecodedAgainInSinglePrecisionAndTheOthersAreNot() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder, Decoder.F16, Optional.of(Decoder.F32), false);
    try (OrtAutoencoder codec = open(bundle, new DecodeOptions(WHOLE, 1 << 20))) {
      List<float[]> latents = latents(3, 2, 2);
      float[] large = times(latents.get(1), 1e6f);
      List<Decoded> pictures =
          codec.decodeBatch(List.of(latents.get(0), large, latents.get(2)), 2, 2);
      assertEquals(List.of(false, true, false), pictures.stream().map(Decoded::retried).toList());
      assertArrayEquals(
          session(
              bundle.file("decoder_f32.onnx"), "latent", times(large, 1 / SCALE), 8, 2, 2, "rgb"),
          pictures.get(1).rgb());
      assertTrue(Decoded.finite(pictures.get(1).rgb()));
      assertTrue(Errors.relative(pictures.get(0).rgb(), codec.decode(latents.get(0), 2, 2)) < 1e-3);
    }
  }

  @Test
  void aTileThatOverflowsMarksItsPicture() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder, Decoder.F16, Optional.of(Decoder.F32), false);
    try (OrtAutoencoder codec = open(bundle, new DecodeOptions(new Tiling(16, 16, 256), 0))) {
      float[] latent = latents(1, 2, 4).get(0);
      assertFalse(codec.decodeBatch(List.of(latent), 2, 4).get(0).retried());
      latent[7] = 1e7f;
      Decoded picture = codec.decodeBatch(List.of(latent), 2, 4).get(0);
      assertTrue(picture.retried());
      assertEquals(2, picture.tiles());
      assertTrue(Decoded.finite(picture.rgb()));
    }
  }

  @Test
  void whatIsNotFiniteInSinglePrecisionEitherIsRefused() throws Exception {
    Bundle nan = TinyAutoencoder.bundle(folder, Decoder.NAN, Optional.empty(), false);
    Bundle both =
        TinyAutoencoder.bundle(
            folder.resolve("both"), Decoder.F16, Optional.of(Decoder.NAN), false);
    for (Bundle bundle : List.of(nan, both)) {
      try (OrtAutoencoder codec = open(bundle, DecodeOptions.STANDARD)) {
        float[] good = latents(1, 2, 3).get(0);
        float[] bad = times(good, 1e6f);
        String message =
            assertThrows(NonFiniteDecodeException.class, () -> codec.decode(bad, 2, 3))
                .getMessage();
        assertTrue(message.contains("[8, 2, 3]"), message);
        assertTrue(Decoded.finite(codec.decode(good, 2, 3)), "it goes on");
      }
    }
  }

  @Test
  void aDecoderOfOtherInputsOrOutputsIsRefusedByName() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    Path file = bundle.file("decoder.onnx");
    TinyAutoencoder.decoder(file, Decoder.F32, 8, "z", "rgb");
    assertRefused(bundle, "inputs: expected [latent], found [z]");
    TinyAutoencoder.decoder(file, Decoder.F32, 8, "latent", "sample");
    assertRefused(bundle, "outputs: expected [rgb], found [sample]");
    TinyAutoencoder.decoder(file, Decoder.F32, 4, "latent", "rgb");
    assertRefused(bundle, "input latent: expected FLOAT [-1, 8, -1, -1]");
    Files.writeString(file, "no model");
    assertRefused(bundle, "ONNX Runtime does not take");
  }

  private static void assertRefused(Bundle bundle, String part) {
    String message =
        assertThrows(EngineException.class, () -> open(bundle, DecodeOptions.STANDARD))
            .getMessage();
    assertTrue(message.contains(part) && message.contains("decoder.onnx"), message);
  }

  @Test
  void everyFileMustBeThereWhenTheCodecIsOpened() throws Exception {
    for (String name : List.of("decoder.onnx", "encoder.onnx", "decoder_f32.onnx")) {
      Bundle bundle = TinyAutoencoder.bundle(folder, Decoder.F16, Optional.of(Decoder.F32), true);
      Files.delete(bundle.file(name));
      String found =
          assertThrows(NoSuchFileException.class, () -> open(bundle, DecodeOptions.STANDARD))
              .getFile();
      assertTrue(found.endsWith(name), found);
    }
  }

  @Test
  void aFileThatIsOnlyFoundBrokenWhenNeededFailsTheCallAlone() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder);
    Files.writeString(bundle.file("encoder.onnx"), "no model");
    try (OrtAutoencoder codec = open(bundle, DecodeOptions.STANDARD)) {
      float[] picture = GeneratedDcAe.image(8, 8);
      String message =
          assertThrows(CodecException.class, () -> codec.encode(picture, 8, 8)).getMessage();
      assertTrue(message.contains("encoder failed") && message.contains("encoder.onnx"), message);
      assertEquals(3 * 64, codec.decode(new float[8], 1, 1).length);
    }
  }

  @Test
  void withoutAnEncoderNothingIsEncoded() throws Exception {
    Bundle bundle = TinyAutoencoder.bundle(folder, Decoder.F32, Optional.empty(), false);
    try (OrtAutoencoder codec = open(bundle, DecodeOptions.STANDARD)) {
      String message =
          assertThrows(
                  UnsupportedOperationException.class,
                  () -> codec.encode(GeneratedDcAe.image(8, 8), 8, 8))
              .getMessage();
      assertTrue(message.contains("expected an encoder"), message);
    }
  }

  @Test
  void sizesThatDoNotFitAreRefused() throws Exception {
    try (OrtAutoencoder codec = open(DecodeOptions.STANDARD)) {
      assertRefused(() -> codec.encode(new float[3 * 4 * 8], 4, 8), "multiples of 8, found 8x4");
      assertRefused(() -> codec.encode(new float[3 * 12 * 8], 12, 8), "multiples of 8");
      assertRefused(() -> codec.encode(new float[9], 8, 8), "expected 192 values");
      assertRefused(() -> codec.decode(new float[0], 0, 3), "1x1 or more", "3x0");
      assertRefused(() -> codec.decode(new float[9], 1, 1), "[8, 1, 1]", "found 9");
      assertRefused(() -> codec.decode(new float[8], 1 << 14, 1 << 14), "at most");
    }
    Bundle bundle = TinyAutoencoder.bundle(folder);
    assertRefused(
        () -> open(bundle, new DecodeOptions(new Tiling(60, 40, 100), 0)),
        "multiples of 8 pixels",
        "60 and 40");
  }

  private static void assertRefused(Callable<?> call, String... parts) {
    String message = assertThrows(IllegalArgumentException.class, call::call).getMessage();
    for (String part : parts) {
      assertTrue(message.contains(part), message);
    }
  }

  @Test
  void closingTwiceIsFineAndUseAfterCloseIsNot() throws Exception {
    OrtAutoencoder codec = open(DecodeOptions.STANDARD);
    codec.encode(GeneratedDcAe.image(8, 8), 8, 8);
    codec.close();
    codec.close();
    for (Callable<?> use :
        List.<Callable<?>>of(
            () -> codec.decode(new float[8], 1, 1), () -> codec.encode(new float[3 * 64], 8, 8))) {
      String message = assertThrows(IllegalStateException.class, use::call).getMessage();
      assertTrue(message.contains("OrtAutoencoder"), message);
    }
  }

  @Test
  void parallelCallsOfManySizesGiveWhatOneThreadGives() throws Exception {
    try (OrtAutoencoder codec = open(DecodeOptions.STANDARD)) {
      List<float[]> alone = new ArrayList<>();
      for (int side = 1; side <= 6; side++) {
        alone.add(codec.decode(latents(1, side, 7 - side).get(0), side, 7 - side));
      }
      ExecutorService threads = Executors.newFixedThreadPool(4);
      try {
        List<Future<float[]>> results = new ArrayList<>();
        for (int i = 0; i < 120; i++) {
          int side = 1 + i % 6;
          results.add(
              threads.submit(
                  () -> codec.decode(latents(1, side, 7 - side).get(0), side, 7 - side)));
        }
        for (int i = 0; i < 120; i++) {
          assertArrayEquals(alone.get(i % 6), results.get(i).get(), "call " + i);
        }
      } finally {
        threads.shutdownNow();
      }
    }
  }

  @Test
  void closingWhileOthersDecodeEndsThem() throws Exception {
    OrtAutoencoder codec = open(DecodeOptions.STANDARD);
    float[] latent = latents(1, 64, 64).get(0);
    ExecutorService threads = Executors.newFixedThreadPool(2);
    try {
      List<Future<Integer>> decoding = new ArrayList<>();
      for (int i = 0; i < 2; i++) {
        decoding.add(
            threads.submit(
                () -> {
                  for (int done = 0; ; done++) {
                    try {
                      codec.decode(latent, 64, 64);
                    } catch (IllegalStateException closed) {
                      return done;
                    }
                  }
                }));
      }
      Thread.sleep(200);
      codec.close();
      for (Future<Integer> each : decoding) {
        assertTrue(each.get() >= 0);
      }
    } finally {
      threads.shutdownNow();
    }
  }

  private OrtAutoencoder open(DecodeOptions decode) throws Exception {
    return open(TinyAutoencoder.bundle(folder), decode);
  }

  private static OrtAutoencoder open(Bundle bundle, DecodeOptions decode) throws Exception {
    return OrtAutoencoder.open(bundle, new EngineOptions(1, decode), OrtDevice.CPU);
  }

  private static List<float[]> latents(int count, int h, int w) {
    List<float[]> latents = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      float[] latent = GeneratedDcAe.latent(8, h, w);
      for (int j = 0; j < latent.length; j++) {
        latent[j] += 0.3f * i;
      }
      latents.add(latent);
    }
    return latents;
  }

  private static float[] times(float[] values, float factor) {
    float[] product = new float[values.length];
    for (int i = 0; i < values.length; i++) {
      product[i] = values[i] * factor;
    }
    return product;
  }

  private static float[] decoded(Bundle bundle, float[] unscaled, int h, int w) {
    return session(bundle.file("decoder.onnx"), "latent", unscaled, 8, h, w, "rgb");
  }

  /** One plain run of a file, as the oracle. */
  private static float[] session(
      Path file, String from, float[] values, int channels, int h, int w, String to) {
    try (OrtSession session = OrtNative.environment().createSession(file.toString());
        OnnxTensor in =
            OnnxTensor.createTensor(
                OrtNative.environment(), FloatBuffer.wrap(values), new long[] {1, channels, h, w});
        OrtSession.Result result = session.run(Map.of(from, in))) {
      OnnxTensor tensor = (OnnxTensor) result.get(to).orElseThrow();
      float[] out = new float[tensor.getFloatBuffer().remaining()];
      tensor.getFloatBuffer().get(out);
      return out;
    } catch (OrtException e) {
      throw new AssertionError(e);
    }
  }
}
