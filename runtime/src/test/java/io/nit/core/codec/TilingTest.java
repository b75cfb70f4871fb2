package io.nit.core.codec;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TilingTest {
  private static final int FACTOR = 2;

  /** Every latent value becomes a block of pixels. */
  private static float[] enlarge(float[] latent, int h, int w) {
    float[] rgb = new float[3 * h * FACTOR * w * FACTOR];
    int at = 0;
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < h * FACTOR; y++) {
        for (int x = 0; x < w * FACTOR; x++) {
          rgb[at++] = latent[(c * h + y / FACTOR) * w + x / FACTOR];
        }
      }
    }
    return rgb;
  }

  private static float[] random(int size) {
    Random random = new Random(7);
    float[] values = new float[size];
    for (int i = 0; i < size; i++) {
      values[i] = random.nextFloat();
    }
    return values;
  }

  @ParameterizedTest
  @CsvSource({"5, 9", "1, 1", "20, 20", "3, 17", "16, 4", "8, 8"})
  void aLocalDecoderGivesTheSameTiledAndWhole(int h, int w) {
    float[] latent = random(3 * h * w);
    Tiling tiling = new Tiling(16, 12, 1);
    float[] tiled = tiling.decode(latent, h, w, FACTOR, TilingTest::enlarge);
    assertArrayEquals(enlarge(latent, h, w), tiled, 1e-6f);
  }

  /** A decoder whose pixels near the border of what it sees are wrong, as a convolution's are. */
  private static float[] wrongAtBorders(float[] latent, int h, int w) {
    float[] rgb = enlarge(latent, h, w);
    for (int i = 0; i < rgb.length; i++) {
      int y = i / (w * FACTOR) % (h * FACTOR);
      int x = i % (w * FACTOR);
      boolean inside =
          Math.min(y, h * FACTOR - 1 - y) >= FACTOR && Math.min(x, w * FACTOR - 1 - x) >= FACTOR;
      rgb[i] = inside ? rgb[i] : -1;
    }
    return rgb;
  }

  @ParameterizedTest
  @CsvSource({"20, 20, 2", "9, 31, 1", "17, 5, 2", "20, 20, 100"})
  void withAMarginWhatIsWrongAtATilesBorderIsNotInThePicture(int h, int w, int margin) {
    float[] latent = random(3 * h * w);
    float[] whole = wrongAtBorders(latent, h, w);
    float[] found =
        new Tiling(16, 12, margin, 1).decode(latent, h, w, FACTOR, TilingTest::wrongAtBorders);
    assertArrayEquals(whole, found, 1e-6f);
    float[] without =
        new Tiling(16, 12, 1).decode(latent, h, w, FACTOR, TilingTest::wrongAtBorders);
    assertFalse(Arrays.equals(whole, without), "the borders show without one");
  }

  /** The rule, written pixel by pixel from its closed form, with tiles that do not agree. */
  @ParameterizedTest
  @CsvSource({"20, 20, 16, 12", "9, 31, 8, 6", "17, 5, 12, 4", "7, 7, 6, 6", "13, 13, 4, 2"})
  void tilesFadeAsTheRuleSays(int h, int w, int tile, int stride) {
    List<float[]> made = new ArrayList<>();
    Random random = new Random(3);
    float[] found =
        new Tiling(tile, stride, 1)
            .decode(
                new float[3 * h * w],
                h,
                w,
                FACTOR,
                (latent, th, tw) -> {
                  float[] rgb = new float[3 * th * tw * FACTOR * FACTOR];
                  for (int i = 0; i < rgb.length; i++) {
                    rgb[i] = random.nextFloat();
                  }
                  made.add(rgb.clone());
                  return rgb;
                });
    assertArrayEquals(expected(made, h, w, tile, stride), found, 1e-6f);
  }

  private static float[] expected(List<float[]> raw, int h, int w, int tile, int stride) {
    int rows = (h * FACTOR + stride - 1) / stride;
    int columns = (w * FACTOR + stride - 1) / stride;
    assertEquals(rows * columns, raw.size());
    float[] picture = new float[3 * h * FACTOR * w * FACTOR];
    int at = 0;
    for (int c = 0; c < 3; c++) {
      for (int y = 0; y < h * FACTOR; y++) {
        for (int x = 0; x < w * FACTOR; x++) {
          Grid grid = new Grid(raw, columns, h * FACTOR, w * FACTOR, tile, stride, c);
          picture[at++] = (float) grid.blended(y / stride, x / stride, y % stride, x % stride);
        }
      }
    }
    return picture;
  }

  /** A tile's pixel after both fades, by recursion to the neighbours' faded pixels. */
  private record Grid(
      List<float[]> raw, int columns, int height, int width, int tile, int stride, int channel) {
    int high(int row) {
      return Math.min(tile, height - row * stride);
    }

    int wide(int column) {
      return Math.min(tile, width - column * stride);
    }

    double blended(int row, int column, int y, int x) {
      double value = afterVertical(row, column, y, x);
      if (column > 0) {
        int n = Math.min(Math.min(wide(column - 1), wide(column)), tile - stride);
        if (x < n) {
          double share = (double) x / n;
          value =
              blended(row, column - 1, y, wide(column - 1) - n + x) * (1 - share) + value * share;
        }
      }
      return value;
    }

    double afterVertical(int row, int column, int y, int x) {
      double value = raw.get(row * columns + column)[(channel * high(row) + y) * wide(column) + x];
      if (row > 0) {
        int n = Math.min(Math.min(high(row - 1), high(row)), tile - stride);
        if (y < n) {
          double share = (double) y / n;
          value = blended(row - 1, column, high(row - 1) - n + y, x) * (1 - share) + value * share;
        }
      }
      return value;
    }
  }

  @Test
  void strideBeyondTheTileIsRefused() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> new Tiling(256, 448, 1)).getMessage();
    assertTrue(message.contains("expected 1..256"), message);
    assertTrue(message.contains("found 448"), message);
  }

  @ParameterizedTest
  @CsvSource({"500, 448", "512, 400"})
  void tilesAndStridesAreWholeLatentPixels(int tile, int stride) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> new Tiling(tile, stride, 1).require(32))
            .getMessage();
    assertTrue(message.contains("expected multiples of 32 pixels"), message);
  }

  @Test
  void onlyLargePicturesAreTiled() {
    Tiling tiling = Tiling.STANDARD.require(32);
    assertFalse(tiling.applies(1024, 1024));
    assertFalse(tiling.applies(512, 2048), "as many pixels, and fine whole");
    assertTrue(tiling.applies(1056, 1024));
    assertTrue(tiling.applies(2048, 2048));
    assertFalse(new Tiling(512, 448, 1).applies(512, 512), "one tile is the whole");
    assertEquals(3, tiling.tilesAlong(2048));
  }

  @Test
  void tilesThatADecoderDoesNotHoldBecomeTheLargestThatItHolds() {
    assertEquals(Tiling.STANDARD, Tiling.STANDARD.within(1152, 32));
    assertEquals(
        new Tiling(448, 416, 32, Tiling.STANDARD.maxPixels()), Tiling.STANDARD.within(512, 32));
    for (int cells = 1; cells <= 40; cells++) {
      Tiling small = Tiling.STANDARD.within(32 * cells, 32).require(32);
      assertTrue(small.tile() + 2 * small.margin() <= 32 * cells, small.toString());
    }
  }
}
