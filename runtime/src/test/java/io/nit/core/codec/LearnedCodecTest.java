package io.nit.core.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.image.RgbImage;
import io.nit.testing.TinyAutoencoder;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class LearnedCodecTest {
  private static final int F = TinyAutoencoder.CONFIG.factor();
  private static final int C = TinyAutoencoder.CONFIG.latentChannels();

  /** A picture has its latent's first value everywhere, or NaN where that is above a limit. */
  private static final class Made extends LearnedCodec {
    final List<String> calls = new ArrayList<>();
    final List<LatentSize> ready = new ArrayList<>();

    Made(Tiling tiling) {
      super(
          new DcAeSpec(TinyAutoencoder.CONFIG, Optional.empty()),
          tiling,
          new PixelBudget(0),
          Integer.MAX_VALUE,
          true);
    }

    @Override
    protected List<float[]> decodeRaw(List<float[]> latents, int h, int w, boolean single) {
      calls.add(latents.size() + " of " + w + "x" + h + (single ? " in F32" : ""));
      List<float[]> pictures = new ArrayList<>();
      for (float[] latent : latents) {
        float[] rgb = new float[3 * h * F * w * F];
        Arrays.fill(rgb, latent[0] > 0.5f && !single ? Float.NaN : latent[0]);
        pictures.add(rgb);
      }
      return pictures;
    }

    @Override
    protected List<float[]> encodeRaw(List<float[]> rgb, int height, int width) {
      throw new AssertionError("nothing is encoded");
    }

    @Override
    protected void requireEncoder() {}

    @Override
    protected int warmUpRaw(List<LatentSize> runs) {
      ready.addAll(runs);
      return runs.size();
    }
  }

  private static float[] latent(int h, int w, float value) {
    float[] latent = new float[C * h * w];
    latent[0] = value * (float) TinyAutoencoder.CONFIG.scalingFactor();
    return latent;
  }

  @Test
  void imagesAreTheBytesOfDecodedPlanesRetriedOnesToo() {
    Made codec = new Made(Tiling.STANDARD);
    List<float[]> latents = List.of(latent(2, 3, -0.3f), latent(2, 3, 0.7f));
    List<DecodedImage> images = codec.decodeImages(latents, 2, 3);
    assertEquals(List.of("1 of 3x2", "1 of 3x2", "1 of 3x2 in F32"), codec.calls);
    List<Decoded> planes = codec.decodeBatch(latents, 2, 3);
    for (int i = 0; i < 2; i++) {
      assertArrayEquals(
          RgbImage.ofPlanes(planes.get(i).rgb(), 2 * F, 3 * F).rgb(), images.get(i).image().rgb());
      assertEquals(i == 1, images.get(i).retried());
    }
    assertThrows(
        IllegalArgumentException.class, () -> codec.decodeImages(List.of(new float[5]), 2, 3));
  }

  @Test
  void whatIsMadeReadyAreTheSizesOfRunsEachOnce() {
    int side = 4 * F;
    Made codec = new Made(new Tiling(side, side, 0, (long) side * side));
    assertEquals(0, codec.warmUp(List.of()));
    LatentSize whole = new LatentSize(2, 3);
    assertEquals(
        5, // whole, and of the large one tiles of 4x4, 4x1, 2x4 and 2x1
        codec.warmUp(List.of(whole, new LatentSize(6, 9), whole, new LatentSize(4, 4))));
    assertEquals(5, codec.ready.size());
    assertTrue(
        codec.ready.containsAll(
            List.of(
                whole,
                new LatentSize(4, 4),
                new LatentSize(4, 1),
                new LatentSize(2, 4),
                new LatentSize(2, 1))),
        codec.ready.toString());
    assertThrows(IllegalArgumentException.class, () -> codec.warmUp(List.of(new LatentSize(0, 4))));
    codec.close();
    assertThrows(IllegalStateException.class, () -> codec.warmUp(List.of(whole)));
  }
}
