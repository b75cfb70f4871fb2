package io.nit.core.image;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.awt.image.BufferedImage;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import javax.imageio.ImageIO;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageTest {
  @TempDir Path folder;

  @Test
  void planesBecomeBytesByRoundingAndClamping() {
    float[] planes = {
      -1,
      1,
      0,
      -7,
      7,
      1 / 127.5f,
      0.4f / 127.5f,
      -0.6f / 127.5f,
      0.25f,
      Float.POSITIVE_INFINITY,
      Float.NEGATIVE_INFINITY,
      0.5f
    };
    RgbImage image = RgbImage.ofPlanes(planes, 2, 2);
    // Interleaved: pixel i takes values i, 4 + i and 8 + i.
    assertArrayEquals(
        new int[] {0, 255, 159, 255, 129, 255, 128, 128, 0, 0, 127, 191}, unsigned(image.rgb()));
  }

  @Test
  void planesOfManyBlocksBecomeTheBytesOfEachValueAlone() {
    int width = 61;
    int height = 53;
    float[] planes = new float[3 * height * width];
    for (int i = 0; i < planes.length; i++) {
      planes[i] = (float) Math.sin(i * 0.37) * 1.2f;
    }
    planes[7] = Float.POSITIVE_INFINITY;
    planes[8] = Float.NEGATIVE_INFINITY;
    planes[9] = 1.5f / 127.5f - 1;
    byte[] rgb = RgbImage.ofPlanes(planes, height, width).rgb();
    for (int i = 0; i < planes.length; i++) {
      long level = Math.round(Math.max(0, Math.min(255, (planes[i] + 1) * 127.5f)));
      int area = height * width;
      assertEquals((byte) level, rgb[i % area * 3 + i / area], "value " + i);
    }
  }

  /** As the sentence of {@link RgbImage#ofPlanes} says it, in double precision. */
  private static byte level(float value) {
    double level = (value + 1) * 127.5f;
    return (byte) Math.max(0, Math.min(255, (int) (level + 0.5)));
  }

  @Test
  void valuesBesideEveryHalfAreRoundedAsInDoublePrecision() {
    int around = 512;
    float[] planes = new float[3 * 256 * 2 * around]; // 256 x 1024 pixels, bands of several threads
    for (int half = 0, at = 0; at < planes.length; half++) {
      float middle = (half % 256 + 0.5f) / 127.5f - 1;
      for (int i = -around; i < around; i++) {
        planes[at++] = middle + i * 0x1p-26f; // every value that a sum with 1 tells apart
      }
    }
    planes[5] = 0.49999997f / 127.5f - 1;
    planes[6] = Float.MAX_VALUE;
    planes[7] = -Float.MAX_VALUE;
    planes[8] = -0.0f;
    planes[9] = Float.MIN_VALUE;
    byte[] rgb = RgbImage.ofPlanes(planes, 256, 2 * around).rgb();
    int area = 256 * 2 * around;
    for (int i = 0; i < planes.length; i++) {
      assertEquals(level(planes[i]), rgb[i % area * 3 + i / area], "of " + planes[i]);
    }
  }

  @Test
  void planesElsewhereGiveTheSameBytesUnlessAValueIsNotFinite() {
    int width = 300;
    int height = 250; // two bands and a part of a block
    int area = width * height;
    FloatBuffer memory =
        ByteBuffer.allocateDirect((3 * area + 5) * Float.BYTES)
            .order(ByteOrder.nativeOrder())
            .asFloatBuffer();
    float[] planes = new float[3 * area];
    for (int i = 0; i < planes.length; i++) {
      planes[i] = (float) Math.cos(i * 0.11) * 1.1f;
    }
    memory.position(3).put(planes).position(3);
    byte[] expected = RgbImage.ofPlanes(planes, height, width).rgb();
    RgbImage found = RgbImage.ofFinitePlanes(memory, height, width).orElseThrow();
    assertArrayEquals(expected, found.rgb());
    assertEquals(width, found.width());
    assertEquals(3, memory.position());
    float[] bad = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY};
    for (int i = 0; i < 60; i++) {
      int at = i * 997 * 3 % planes.length;
      float kept = planes[at];
      memory.put(3 + at, bad[i % 3]);
      assertTrue(RgbImage.ofFinitePlanes(memory, height, width).isEmpty(), bad[i % 3] + ", " + at);
      memory.put(3 + at, kept);
    }
    memory.put(3, Float.MAX_VALUE).put(4, Float.MAX_VALUE); // their sum is infinite, they are not
    assertTrue(RgbImage.ofFinitePlanes(memory, height, width).isPresent());
  }

  @Test
  void everyByteRoundTripsThroughPlanes() {
    byte[] rgb = new byte[3 * 256];
    for (int i = 0; i < rgb.length; i++) {
      rgb[i] = (byte) (i / 3);
    }
    RgbImage image = new RgbImage(64, 4, rgb);
    assertArrayEquals(rgb, RgbImage.ofPlanes(image.toPlanes(), 4, 64).rgb());
  }

  @Test
  void aPictureWithNaNIsNeverMade() {
    float[] planes = new float[12];
    planes[7] = Float.NaN;
    assertThrows(IllegalArgumentException.class, () -> RgbImage.ofPlanes(planes, 2, 2));
  }

  @Test
  void bytesMustFillTheSize() {
    assertThrows(IllegalArgumentException.class, () -> new RgbImage(2, 2, new byte[11]));
    assertThrows(IllegalArgumentException.class, () -> new RgbImage(0, 2, new byte[0]));
    assertThrows(IllegalArgumentException.class, () -> new RgbImage(1 << 16, 1 << 16, new byte[0]));
  }

  @Test
  void pixelsKeepTheirPlaceThroughJavasImages() {
    RgbImage image = picture(5, 3);
    assertArrayEquals(image.rgb(), RgbImage.of(image.toBufferedImage()).rgb());
    BufferedImage other = new BufferedImage(1, 1, BufferedImage.TYPE_INT_ARGB);
    other.setRGB(0, 0, 0xff102030);
    assertArrayEquals(new byte[] {0x10, 0x20, 0x30}, RgbImage.of(other).rgb());
  }

  @Test
  void pngsCarryPixelsAndText() throws IOException {
    RgbImage image = picture(7, 5);
    Map<String, String> text =
        Map.of("nit-request", "{\"label\": 3,\n\"name\": \"é 猫\"}", "Software", "nit-run");
    Path file = folder.resolve("new/a.png");
    Png.write(file, image, text);
    assertEquals(text, Png.readText(file));
    assertArrayEquals(image.rgb(), RgbImage.of(ImageIO.read(file.toFile())).rgb());
  }

  @Test
  void pngsWithoutTextHaveNone() throws IOException {
    Path file = folder.resolve("plain.png");
    Png.write(file, picture(2, 2), Map.of());
    assertTrue(Png.readText(file).isEmpty());
    byte[] bytes = Png.encode(picture(2, 2), Map.of());
    assertEquals(2, ImageIO.read(new ByteArrayInputStream(bytes)).getWidth());
  }

  @Test
  void contactSheetsBreakRowsAtTheirWidth() {
    List<ContactSheet.Cell> cells = List.of(cell(40, 20), cell(40, 30), cell(40, 10), cell(20, 10));
    // 8 + 40 + 8 + 40 + 8 = 104: two to a row. Rows: 30 + 14 and 10 + 14, gaps of 8.
    RgbImage sheet = ContactSheet.of(cells, 104, 1);
    assertEquals(104, sheet.width());
    assertEquals(8 + 44 + 8 + 24 + 8, sheet.height());
    RgbImage narrower = ContactSheet.of(cells, 103, 1); // one to a row, the small last one beside
    assertEquals(8 + 34 + 8 + 44 + 8 + 24 + 8, narrower.height());
    RgbImage oneRow = ContactSheet.of(cells, 1000, 1);
    assertEquals(1000, oneRow.width());
    assertEquals(8 + 44 + 8, oneRow.height());
  }

  @Test
  void contactSheetsBeginARowWithEachGroup() {
    List<ContactSheet.Cell> tall = List.of(cell(20, 30), cell(20, 30));
    List<ContactSheet.Cell> wide = List.of(cell(40, 10));
    assertEquals(8 + 44 + 8 + 24 + 8, ContactSheet.ofGroups(List.of(tall, wide), 1000, 1).height());
    assertEquals(2, ContactSheet.largestScale(tall, 8 + 40 + 8 + 40 + 8));
    assertEquals(1, ContactSheet.largestScale(tall, 8 + 40 + 8 + 40 + 7));
    assertEquals(1, ContactSheet.largestScale(tall, 10));
  }

  @Test
  void contactSheetsGrowForWidePicturesAndEnlarge() {
    RgbImage sheet = ContactSheet.of(List.of(cell(50, 10)), 20, 3);
    assertEquals(150 + 16, sheet.width());
    assertEquals(8 + 30 + 14 + 8, sheet.height());
  }

  @Test
  void contactSheetsShowThePicturesPixels() {
    RgbImage picture = picture(4, 4);
    RgbImage sheet = ContactSheet.of(List.of(new ContactSheet.Cell(picture, "")), 50, 2);
    for (int y = 0; y < 8; y++) {
      for (int x = 0; x < 8; x++) {
        for (int c = 0; c < 3; c++) {
          assertEquals(
              picture.rgb()[(y / 2 * 4 + x / 2) * 3 + c],
              sheet.rgb()[((8 + y) * 50 + 8 + x) * 3 + c]);
        }
      }
    }
  }

  @Test
  void aNarrowPictureGetsRoomForItsCaptionUpToABound() {
    ContactSheet.Cell cell = cell(8, 8);
    int plain = ContactSheet.of(List.of(cell), 10, 1).width();
    int captioned =
        ContactSheet.of(List.of(new ContactSheet.Cell(cell.image(), "trouser 12x28")), 10, 1)
            .width();
    int bounded =
        ContactSheet.of(List.of(new ContactSheet.Cell(cell.image(), "trouser ".repeat(99))), 10, 1)
            .width();
    assertEquals(8 + 16, plain);
    assertTrue(captioned > 50 && captioned < bounded, captioned + " and " + bounded);
    assertEquals(200 + 16, bounded);
  }

  @Test
  void anEmptyContactSheetIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> ContactSheet.of(List.of(), 100, 1));
  }

  private static ContactSheet.Cell cell(int width, int height) {
    return new ContactSheet.Cell(picture(width, height), "a");
  }

  private static RgbImage picture(int width, int height) {
    byte[] rgb = new byte[3 * width * height];
    for (int i = 0; i < rgb.length; i++) {
      rgb[i] = (byte) (i * 31);
    }
    return new RgbImage(width, height, rgb);
  }

  private static int[] unsigned(byte[] bytes) {
    int[] values = new int[bytes.length];
    for (int i = 0; i < bytes.length; i++) {
      values[i] = bytes[i] & 0xff;
    }
    return values;
  }
}
