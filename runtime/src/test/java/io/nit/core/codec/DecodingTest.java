package io.nit.core.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.image.RgbImage;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.junit.jupiter.api.Test;

class DecodingTest {
  private static final int F = 2;
  private static final Tiling TILES = new Tiling(8, 6, 8 * 8);

  private final List<String> runs = new ArrayList<>();

  /** One channel; a pixel has its latent pixel's value, and what is above the limit is infinite. */
  private Decoding.Network network(String name, float limit) {
    return (latents, h, w) -> {
      runs.add(name + " " + latents.size() + " of " + w + "x" + h);
      return latents.stream().map(latent -> enlarge(latent, h, w, limit)).toList();
    };
  }

  private static float[] enlarge(float[] latent, int h, int w, float limit) {
    float[] rgb = new float[3 * h * F * w * F];
    for (int i = 0; i < rgb.length; i++) {
      float value = latent[i / (w * F) % (h * F) / F * w + i % (w * F) / F];
      rgb[i] = value > limit ? Float.POSITIVE_INFINITY : value;
    }
    return rgb;
  }

  private static float[] filled(int size, float value) {
    float[] latent = new float[size];
    Arrays.fill(latent, value);
    return latent;
  }

  private Decoding decoding(long batch, Optional<Decoding.Network> single) {
    return new Decoding(F, TILES, new PixelBudget(batch), network("half", 10), single);
  }

  @Test
  void picturesOfOneSizeAreDecodedTogetherUpToTheBudget() {
    Decoding decoding = decoding(2 * 4 * 6, Optional.empty());
    List<float[]> latents = List.of(filled(6, 1), filled(6, 2), filled(6, 3));
    List<Decoded> pictures = decoding.decode(latents, 2, 3);
    assertEquals(List.of("half 2 of 3x2", "half 1 of 3x2"), runs);
    for (int i = 0; i < 3; i++) {
      assertArrayEquals(filled(3 * 4 * 6, i + 1), pictures.get(i).rgb());
      assertEquals(1, pictures.get(i).tiles());
      assertFalse(pictures.get(i).retried());
    }
    assertEquals(2, decoding.limit(2, 3));
    assertEquals(1, decoding.limit(5, 5), "in tiles");
  }

  @Test
  void onlyWhatIsNotFiniteIsDecodedAgain() {
    Decoding decoding = decoding(1000, Optional.of(network("single", 100)));
    List<Decoded> pictures =
        decoding.decode(List.of(filled(1, 1), filled(1, 50), filled(1, 2)), 1, 1);
    assertEquals(List.of("half 3 of 1x1", "single 1 of 1x1"), runs);
    assertEquals(List.of(false, true, false), pictures.stream().map(Decoded::retried).toList());
    assertArrayEquals(filled(12, 50), pictures.get(1).rgb());
  }

  @Test
  void whatIsNotFiniteInSinglePrecisionIsRefusedAndNothingIsReturned() {
    Decoding both = decoding(1000, Optional.of(network("single", 100)));
    Decoding alone = decoding(1000, Optional.empty());
    List<float[]> latents = List.of(filled(1, 1), filled(1, 500));
    for (Decoding decoding : List.of(both, alone)) {
      NonFiniteDecodeException refused =
          assertThrows(NonFiniteDecodeException.class, () -> decoding.decode(latents, 1, 1));
      assertTrue(refused.getMessage().contains("500"), refused.getMessage());
    }
  }

  @Test
  void inTilesEachIsRetriedAloneAndThePictureTellsItAndTheirCount() {
    Decoding decoding = decoding(1000, Optional.of(network("single", 100)));
    float[] latent = filled(5 * 5, 1); // 10x10 pixels: tiles of 8x8, 8x4, 4x8, 4x4
    latent[24] = 50; // in the last
    Decoded picture = decoding.decode(List.of(latent), 5, 5).get(0);
    assertEquals(4, picture.tiles());
    assertTrue(picture.retried());
    assertEquals(
        List.of("half 1 of 4x4", "half 1 of 2x4", "half 1 of 4x2", "half 1 of 2x2"),
        runs.stream().filter(run -> run.startsWith("half")).toList());
    assertEquals(
        List.of("single 1 of 2x2"), runs.stream().filter(run -> run.startsWith("single")).toList());
    assertEquals(50, picture.rgb()[99]);
  }

  /** As the network of the name makes them; what is above the limit is left out. */
  private Decoding.ImageNetwork images(String name, float limit) {
    return (latents, h, w) ->
        network(name, limit).decode(latents, h, w).stream()
            .map(rgb -> RgbImage.ofFinitePlanes(FloatBuffer.wrap(rgb), h * F, w * F))
            .toList();
  }

  @Test
  void imagesAreTheBytesOfThePlanesAndThoseNotFiniteAreDecodedAgain() {
    Decoding decoding = decoding(2 * 4, Optional.of(network("single", 0.9f)));
    List<float[]> latents =
        List.of(filled(1, 0.1f), filled(1, -0.7f), filled(1, 0.6f), filled(1, 0.2f));
    List<DecodedImage> found = decoding.images(latents, 1, 1, images("direct", 0.5f));
    assertEquals(
        List.of("direct 2 of 1x1", "direct 2 of 1x1", "single 1 of 1x1"),
        List.of(runs.get(0), runs.get(1), runs.get(2)));
    assertEquals(
        List.of(false, false, true, false), found.stream().map(DecodedImage::retried).toList());
    for (int i = 0; i < found.size(); i++) {
      float[] planes = enlarge(latents.get(i), 1, 1, 10);
      assertArrayEquals(RgbImage.ofPlanes(planes, F, F).rgb(), found.get(i).image().rgb());
      assertEquals(1, found.get(i).tiles());
    }
    assertThrows(
        NonFiniteDecodeException.class,
        () -> decoding.images(List.of(filled(1, 2)), 1, 1, images("direct", 0.5f)));
  }

  @Test
  void imagesInTilesAreTheBytesOfTheBlendedPlanes() {
    Decoding decoding = decoding(1000, Optional.empty());
    float[] latent = new float[5 * 4]; // 8x10 pixels
    for (int i = 0; i < latent.length; i++) {
      latent[i] = i / 10f - 1;
    }
    DecodedImage found =
        decoding
            .images(
                List.of(latent),
                5,
                4,
                (latents, h, w) -> {
                  throw new AssertionError("tiles are blended before they are bytes");
                })
            .get(0);
    Decoded expected = decoding.decode(List.of(latent), 5, 4).get(0);
    assertTrue(found.tiles() > 1);
    assertEquals(expected.tiles(), found.tiles());
    assertArrayEquals(RgbImage.ofPlanes(expected.rgb(), 10, 8).rgb(), found.image().rgb());
  }

  @Test
  void theSizesOfRunsAreThoseThatADecodeAsksFor() {
    for (int margin : new int[] {0, 2, 3}) {
      Tiling tiling = new Tiling(8, 6, margin, 8 * 8);
      for (int h = 1; h < 14; h++) {
        for (int w = 1; w < 14; w++) {
          Set<LatentSize> asked = new HashSet<>();
          Decoding.Network network =
              (latents, high, wide) -> {
                asked.add(new LatentSize(high, wide));
                return List.of(enlarge(latents.get(0), high, wide, 10));
              };
          Decoding decoding =
              new Decoding(F, tiling, new PixelBudget(0), network, Optional.empty(), 16);
          decoding.decode(List.of(filled(h * w, 1)), h, w);
          assertEquals(asked, decoding.runs(h, w), w + "x" + h + ", margin " + margin);
        }
      }
    }
  }

  @Test
  void tilesThatAreNoWholeLatentPixelsAreRefused() {
    assertThrows(
        IllegalArgumentException.class,
        () -> new Decoding(3, TILES, new PixelBudget(0), network("half", 10), Optional.empty()));
  }

  @Test
  void aPictureThatTheDecoderDoesNotHoldIsDecodedInTilesHoweverFewPixelsItHas() {
    Decoding decoding =
        new Decoding(F, TILES, new PixelBudget(1000), network("small", 10), Optional.empty(), 8);
    Decoded wide = decoding.decode(List.of(filled(2 * 10, 3)), 2, 10).get(0); // 4x20 pixels
    assertEquals(4, wide.tiles());
    assertArrayEquals(filled(3 * 4 * 20, 3), wide.rgb());
    assertEquals(1, decoding.limit(2, 10));
    assertEquals(1, decoding.decode(List.of(filled(2 * 4, 3)), 2, 4).get(0).tiles());
  }
}
