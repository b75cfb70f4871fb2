package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.image.RgbImage;
import java.util.Arrays;
import org.junit.jupiter.api.Test;

class ResizeTest {
  /** The test picture of the numbers below, which numpy computed with coefficients of 22 bits. */
  private static RgbImage picture(int width, int height) {
    byte[] rgb = new byte[3 * width * height];
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        for (int c = 0; c < 3; c++) {
          rgb[3 * (y * width + x) + c] =
              (byte) (x * x * 7 + y * 13 * (x + 1) + c * 101 + x * y * c % 29 * 5);
        }
      }
    }
    return new RgbImage(width, height, rgb);
  }

  private static RgbImage flat(int width, int height, int value) {
    byte[] rgb = new byte[3 * width * height];
    Arrays.fill(rgb, (byte) value);
    return new RgbImage(width, height, rgb);
  }

  private static int[] ints(RgbImage image) {
    int[] values = new int[image.rgb().length];
    for (int i = 0; i < values.length; i++) {
      values[i] = image.rgb()[i] & 0xff;
    }
    return values;
  }

  @Test
  void bicubicShrinksWithoutAliasing() {
    assertArrayEquals(
        new int[] {
          8, 110, 221, 45, 164, 126, 141, 140, 93, 200, 107, 166, 38, 149, 157, 120, 150, 107, 180,
          124, 116, 121, 159, 179, 73, 179, 171, 140, 105, 156, 112, 128, 125, 123, 127, 183
        },
        ints(Resampling.BICUBIC.resize(picture(7, 5), 4, 3)));
  }

  @Test
  void bicubicGrows() {
    assertArrayEquals(
        new int[] {
          0, 99, 200, 0, 101, 201, 2, 103, 202, 9, 110, 215, 21, 121, 239, 26, 127, 251, 2, 102,
          202, 4, 105, 208, 8, 109, 219, 17, 119, 215, 30, 133, 197, 37, 139, 189, 8, 109, 207, 12,
          113, 223, 20, 123, 255, 33, 138, 215, 50, 158, 108, 58, 166, 56, 14, 115, 219, 20, 122,
          219, 31, 137, 217, 50, 160, 163, 70, 187, 62, 80, 200, 14, 20, 120, 239, 27, 130, 195, 42,
          149, 102, 65, 181, 58, 89, 220, 67, 100, 239, 72, 26, 126, 250, 35, 140, 189, 55, 168, 59,
          80, 184, 24, 109, 185, 87, 122, 185, 117, 33, 133, 254, 43, 152, 201, 67, 192, 85, 96,
          170, 57, 129, 88, 120, 143, 48, 149, 36, 136, 255, 47, 158, 207, 73, 204, 98, 104, 163,
          73, 138, 42, 135, 154, 0, 164
        },
        ints(Resampling.BICUBIC.resize(picture(3, 4), 6, 8)));
  }

  @Test
  void oneAxisAloneIsLeftAsItIs() {
    assertArrayEquals(
        new int[] {
          3, 104, 218, 43, 156, 119, 154, 117, 88, 174, 125, 120, 23, 130, 212, 91, 185, 82, 198,
          111, 186, 152, 145, 162, 43, 162, 122, 145, 135, 103, 169, 148, 96, 99, 158, 183, 66, 154,
          148, 164, 92, 179, 102, 151, 140, 86, 137, 193, 96, 180, 184, 100, 123, 126, 146, 107,
          147, 186, 157, 125, 116, 84, 65, 154, 163, 43, 117, 84, 136, 133, 121, 123
        },
        ints(Resampling.BICUBIC.resize(picture(8, 6), 4, 6)));
  }

  @Test
  void boxIsTheMeanOfWhatATargetPixelCovers() {
    assertArrayEquals(
        new int[] {
          23, 127, 188, 120, 150, 96, 170, 128, 171, 72, 182, 164, 122, 105, 149, 126, 131, 183
        },
        ints(Resampling.BOX.resize(picture(7, 5), 3, 2)));
  }

  @Test
  void largerPicturesGiveTheReferenceSumsToo() {
    int[] small = ints(Resampling.BICUBIC.resize(picture(97, 61), 32, 20));
    assertEquals(246000, Arrays.stream(small).sum());
    assertEquals(236105240L, weighted(small));
    int[] large = ints(Resampling.BICUBIC.resize(picture(97, 61), 131, 90));
    assertEquals(4530983, Arrays.stream(large).sum());
    assertEquals(16662287299L, weighted(large));
  }

  private static long weighted(int[] values) {
    long sum = 0;
    for (int i = 0; i < values.length; i++) {
      sum += (long) values[i] * (i + 1) % 1_000_003;
    }
    return sum;
  }

  @Test
  void aFlatPictureStaysFlat() {
    for (Resampling filter : Resampling.values()) {
      int[] values = ints(filter.resize(flat(37, 23, 200), 11, 64));
      assertTrue(Arrays.stream(values).allMatch(v -> v == 200), filter.toString());
    }
  }

  @Test
  void nativeSizesFloorToTheMultipleAndKeepOneAtLeast() {
    assertEquals(new Resize.Size(576, 384), Resize.nativeSize(580, 403, 32, 2048));
    assertEquals(new Resize.Size(480, 320), Resize.nativeSize(500, 350, 32, 2048));
    assertEquals(new Resize.Size(32, 32), Resize.nativeSize(5, 31, 32, 2048));
    assertEquals(new Resize.Size(64, 8), Resize.nativeSize(64, 3, 8, 2048));
  }

  @Test
  void nativeSizesAreCappedByArea() {
    assertEquals(new Resize.Size(2048, 2048), Resize.nativeSize(2048, 2048, 32, 2048));
    assertEquals(new Resize.Size(2048, 2048), Resize.nativeSize(9000, 9000, 32, 2048));
    // 8000x2000: w' = sqrt(4)*2048 = 4096, h' = 1024
    assertEquals(new Resize.Size(4096, 1024), Resize.nativeSize(8000, 2000, 32, 2048));
    // A little area below the cap is left alone.
    assertEquals(new Resize.Size(4096, 992), Resize.nativeSize(4097, 1023, 32, 2048));
  }

  @Test
  void centerSquaresHalveThenScaleThenCrop() {
    RgbImage square = Resize.centerSquare(picture(97, 61), 16);
    RgbImage byHand = Resampling.BOX.resize(picture(97, 61), 48, 30); // 30 < 2*16: once
    byHand = Resampling.BICUBIC.resize(byHand, 26, 16); // 48*16/30 = 25.6
    assertArrayEquals(Resize.crop(byHand, 5, 0, 16, 16).rgb(), square.rgb());
    assertEquals(16, square.width());
    assertEquals(16, square.height());
  }

  @Test
  void aSquareOfAHairIsRefusedBeforeMemoryIsTaken() {
    assertThrows(
        IllegalArgumentException.class, () -> Resize.centerSquare(flat(200_000, 1, 9), 512));
  }

  @Test
  void mirroringTwiceIsTheSame() {
    RgbImage image = picture(5, 3);
    RgbImage mirrored = Resize.mirror(image);
    for (int y = 0; y < 3; y++) {
      for (int x = 0; x < 5; x++) {
        assertEquals(image.rgb()[3 * (y * 5 + x) + 1], mirrored.rgb()[3 * (y * 5 + 4 - x) + 1]);
      }
    }
    assertArrayEquals(image.rgb(), Resize.mirror(mirrored).rgb());
  }
}
