package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.image.RgbImage;
import java.awt.Color;
import java.awt.Point;
import java.awt.Transparency;
import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;
import java.awt.image.WritableRaster;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.BitSet;
import java.util.zip.CRC32;
import javax.imageio.IIOImage;
import javax.imageio.ImageIO;
import javax.imageio.ImageWriteParam;
import javax.imageio.ImageWriter;
import javax.imageio.stream.ImageOutputStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ImageFileTest {
  @TempDir Path folder;

  private Path save(BufferedImage image, String format) throws IOException {
    Path file = folder.resolve("picture." + format);
    assertTrue(ImageIO.write(image, format, file.toFile()), format);
    return file;
  }

  private static RgbImage read(Path file) throws IOException {
    return ImageFile.read(file, DataOptions.MAX_PIXELS, false).image();
  }

  private static int[] pixel(RgbImage image, int x, int y) {
    int at = 3 * (y * image.width() + x);
    byte[] rgb = image.rgb();
    return new int[] {rgb[at] & 0xff, rgb[at + 1] & 0xff, rgb[at + 2] & 0xff};
  }

  private String refusal(Path file, long maxPixels) {
    String message =
        assertThrows(IOException.class, () -> ImageFile.read(file, maxPixels, false)).getMessage();
    assertTrue(message.contains(file.toString()), message);
    return message;
  }

  @Test
  void greyPngsKeepTheirRawValues() throws IOException {
    BufferedImage image = new BufferedImage(256, 1, BufferedImage.TYPE_BYTE_GRAY);
    for (int v = 0; v < 256; v++) {
      image.getRaster().setSample(v, 0, 0, v);
    }
    RgbImage read = read(save(image, "png"));
    for (int v = 0; v < 256; v++) {
      assertArrayEquals(new int[] {v, v, v}, pixel(read, v, 0));
    }
  }

  @Test
  void sixteenBitGreyIsRoundedToEightBits() throws IOException {
    BufferedImage image = new BufferedImage(3, 1, BufferedImage.TYPE_USHORT_GRAY);
    image.getRaster().setSample(0, 0, 0, 64 * 257);
    image.getRaster().setSample(1, 0, 0, 65535);
    image.getRaster().setSample(2, 0, 0, 64 * 257 + 129);
    RgbImage read = read(save(image, "png"));
    assertEquals(64, pixel(read, 0, 0)[0]);
    assertEquals(255, pixel(read, 1, 0)[1]);
    assertEquals(65, pixel(read, 2, 0)[2]);
  }

  @Test
  void palettesAreLookedUp() throws IOException {
    byte[] r = {10, (byte) 200};
    byte[] g = {20, 100};
    byte[] b = {30, 0};
    BufferedImage image =
        new BufferedImage(2, 1, BufferedImage.TYPE_BYTE_BINARY, new IndexColorModel(1, 2, r, g, b));
    image.getRaster().setSample(1, 0, 0, 1);
    for (String format : new String[] {"png", "gif", "bmp"}) {
      RgbImage read = read(save(image, format));
      assertArrayEquals(new int[] {10, 20, 30}, pixel(read, 0, 0), format);
      assertArrayEquals(new int[] {200, 100, 0}, pixel(read, 1, 0), format);
    }
  }

  @Test
  void rgbBandsComeInTheirOrder() throws IOException {
    BufferedImage image = new BufferedImage(1, 1, BufferedImage.TYPE_INT_RGB);
    image.setRGB(0, 0, 0x0a141e);
    for (String format : new String[] {"png", "bmp"}) {
      assertArrayEquals(new int[] {10, 20, 30}, pixel(read(save(image, format)), 0, 0), format);
    }
  }

  @Test
  void alphaIsLaidOnWhite() throws IOException {
    BufferedImage image = new BufferedImage(3, 1, BufferedImage.TYPE_INT_ARGB);
    image.setRGB(0, 0, 0x00112233);
    image.setRGB(1, 0, 0xff112233);
    image.setRGB(2, 0, 0x33ff0000); // a fifth
    RgbImage read = read(save(image, "png"));
    assertArrayEquals(new int[] {255, 255, 255}, pixel(read, 0, 0));
    assertArrayEquals(new int[] {17, 34, 51}, pixel(read, 1, 0));
    assertArrayEquals(new int[] {255, 204, 204}, pixel(read, 2, 0));
  }

  @Test
  void croppingKeepsTheBoxThatCanBeSeen() throws IOException {
    BufferedImage image = new BufferedImage(20, 10, BufferedImage.TYPE_INT_ARGB);
    image.setRGB(3, 2, 0x09000000); // alpha 9: just visible
    image.setRGB(8, 5, 0xff000000);
    image.setRGB(15, 9, 0x08000000); // alpha 8: not
    Picture picture = ImageFile.read(save(image, "png"), 1000, true);
    assertEquals(6, picture.image().width());
    assertEquals(4, picture.image().height());
    assertEquals(0, pixel(picture.image(), 5, 3)[0]);
    assertEquals(20, picture.oriWidth());
    assertEquals(10, picture.oriHeight());
  }

  @Test
  void croppingNothingVisibleIsRefused() throws IOException {
    Path file = save(new BufferedImage(4, 4, BufferedImage.TYPE_INT_ARGB), "png");
    String message =
        assertThrows(IOException.class, () -> ImageFile.read(file, 1000, true)).getMessage();
    assertTrue(message.contains("alpha") && message.contains(file.toString()), message);
  }

  @Test
  void everyExifOrientationComesOutUpright() throws IOException {
    // Quadrants of the upright picture: red, green / blue, white.
    Color[][] upright = {{Color.RED, Color.GREEN}, {Color.BLUE, Color.WHITE}};
    // Where TIFF 6.0 says the stored row 0 and column 0 lie in the upright picture.
    for (int orientation = 1; orientation <= 8; orientation++) {
      boolean sideways = orientation >= 5;
      int w = sideways ? 32 : 64;
      int h = sideways ? 64 : 32;
      BufferedImage stored = new BufferedImage(w, h, BufferedImage.TYPE_INT_RGB);
      for (int y = 0; y < h; y++) {
        for (int x = 0; x < w; x++) {
          double u = (x + 0.5) / w;
          double v = (y + 0.5) / h;
          double[] at =
              switch (orientation) {
                case 1 -> new double[] {u, v}; // row 0 top, column 0 left
                case 2 -> new double[] {1 - u, v}; // top, right
                case 3 -> new double[] {1 - u, 1 - v}; // bottom, right
                case 4 -> new double[] {u, 1 - v}; // bottom, left
                case 5 -> new double[] {v, u}; // row 0 left, column 0 top
                case 6 -> new double[] {1 - v, u}; // right, top
                case 7 -> new double[] {1 - v, 1 - u}; // right, bottom
                default -> new double[] {v, 1 - u}; // left, bottom
              };
          stored.setRGB(x, y, upright[at[1] < 0.5 ? 0 : 1][at[0] < 0.5 ? 0 : 1].getRGB());
        }
      }
      Path file = withOrientation(save(stored, "jpg"), orientation);
      Picture picture = ImageFile.read(file, 10_000, false);
      RgbImage read = picture.image();
      assertEquals(64, picture.oriWidth());
      assertEquals(32, picture.oriHeight());
      for (int y = 0; y < 2; y++) {
        for (int x = 0; x < 2; x++) {
          int[] found = pixel(read, 16 + 32 * x, 8 + 16 * y);
          Color expected = upright[y][x];
          String where = "orientation " + orientation + " at " + x + "," + y;
          assertEquals(expected.getRed(), found[0], 12, where);
          assertEquals(expected.getGreen(), found[1], 12, where);
          assertEquals(expected.getBlue(), found[2], 12, where);
        }
      }
    }
  }

  private static Path withOrientation(Path jpeg, int orientation) throws IOException {
    byte[] bytes = Files.readAllBytes(jpeg);
    ByteArrayOutputStream out = new ByteArrayOutputStream();
    out.write(bytes, 0, 2); // SOI
    ByteBuffer app1 = ByteBuffer.allocate(2 + 2 + 6 + 8 + 2 + 12 + 4); // big-endian, as "MM"
    app1.putShort((short) 0xffe1).putShort((short) (app1.capacity() - 2));
    app1.put("Exif\0\0MM\0*".getBytes(StandardCharsets.ISO_8859_1)).putInt(8).putShort((short) 1);
    app1.putShort((short) 0x112).putShort((short) 3).putInt(1);
    app1.putShort((short) orientation).putShort((short) 0).putInt(0);
    out.write(app1.array());
    out.write(bytes, 2, bytes.length - 2);
    return Files.write(jpeg, out.toByteArray());
  }

  @Test
  void aBrokenExifBlockIsNoReasonToRefuseAPicture() throws IOException {
    BufferedImage image = new BufferedImage(8, 8, BufferedImage.TYPE_INT_RGB);
    Path file = withOrientation(save(image, "jpg"), 77);
    assertEquals(8, read(file).width());
  }

  @Test
  void greyJpegsKeepTheirLevel() throws IOException {
    BufferedImage image = new BufferedImage(16, 16, BufferedImage.TYPE_BYTE_GRAY);
    for (int i = 0; i < 256; i++) {
      image.getRaster().setSample(i % 16, i / 16, 0, 64);
    }
    assertEquals(64, pixel(read(save(image, "jpg")), 8, 8)[1], 1);
  }

  private static ImageWriter jpegWriter() {
    for (var all = ImageIO.getImageWritersByFormatName("jpeg"); all.hasNext(); ) {
      ImageWriter candidate = all.next();
      if (candidate.getClass().getName().startsWith("com.sun")) {
        return candidate;
      }
    }
    throw new AssertionError("the JDK has no JPEG writer");
  }

  @ParameterizedTest
  @CsvSource({
    "CMYK, 0, 0, 255, 255", // 255 stands for no ink
    "YCCK, 2, 76, 85, 255" // red, which stands for the ink that is its opposite
  })
  void jpegsOfFourInksBecomeRgb(String name, int transform, int a, int b, int c)
      throws IOException {
    // As Photoshop writes them: an Adobe segment, which says what the bands are.
    WritableRaster raster = Raster.createInterleavedRaster(0, 16, 16, 4, new Point());
    for (int y = 0; y < 16; y++) {
      for (int x = 0; x < 16; x++) {
        raster.setPixel(x, y, new int[] {a, b, c, 255});
      }
    }
    Path file = folder.resolve(name + ".jpg");
    ImageWriter writer = jpegWriter();
    try (ImageOutputStream out = ImageIO.createImageOutputStream(file.toFile())) {
      writer.setOutput(out);
      writer.write(null, new IIOImage(raster, null, null), null);
    }
    byte[] bytes = Files.readAllBytes(file);
    ByteBuffer marked = ByteBuffer.allocate(bytes.length + 16).put(bytes, 0, 2);
    marked.putShort((short) 0xffee).putShort((short) 14);
    marked.put("Adobe\0d\0\0\0\0".getBytes(StandardCharsets.US_ASCII)).put((byte) transform);
    Files.write(file, marked.put(bytes, 2, bytes.length - 2).array());
    int[] cyan = pixel(read(file), 8, 8);
    assertTrue(cyan[0] < 60 && cyan[1] > 120 && cyan[2] > 180, Arrays.toString(cyan));
  }

  @Test
  void aProgressiveJpegIsTurnedUpright() throws IOException {
    BufferedImage stored = new BufferedImage(32, 64, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 32 * 64; i++) {
      stored.setRGB(i % 32, i / 32, i / 32 < 32 ? 0xff0000 : 0x0000ff);
    }
    Path file = folder.resolve("progressive.jpg");
    ImageWriter writer = jpegWriter();
    ImageWriteParam progressive = writer.getDefaultWriteParam();
    progressive.setProgressiveMode(ImageWriteParam.MODE_DEFAULT);
    try (ImageOutputStream out = ImageIO.createImageOutputStream(file.toFile())) {
      writer.setOutput(out);
      writer.write(null, new IIOImage(stored, null, null), progressive);
    }
    String scans = new String(Files.readAllBytes(file), StandardCharsets.ISO_8859_1);
    assertTrue(scans.contains("\u00ff\u00c2"), "a progressive frame");
    RgbImage read = read(withOrientation(file, 6)); // row 0 on the right
    assertEquals(64, read.width());
    int[] right = pixel(read, 60, 16);
    int[] left = pixel(read, 4, 16);
    assertTrue(right[0] > 240 && right[2] < 15, Arrays.toString(right));
    assertTrue(left[2] > 240 && left[0] < 15, Arrays.toString(left));
  }

  @Test
  void sixteenBitsWithAlphaAreRoundedAndLaidOnWhite() throws IOException {
    ColorModel model =
        new ComponentColorModel(
            ColorSpace.getInstance(ColorSpace.CS_sRGB),
            true,
            false,
            Transparency.TRANSLUCENT,
            DataBuffer.TYPE_USHORT);
    WritableRaster raster = model.createCompatibleWritableRaster(2, 1);
    raster.setPixel(0, 0, new int[] {100 * 257 + 129, 64 * 257, 0, 65535});
    raster.setPixel(1, 0, new int[] {65535, 0, 0, 51 * 257}); // a fifth
    Path file = save(new BufferedImage(model, raster, false, null), "png");
    assertEquals(16, Files.readAllBytes(file)[24], "bits of a sample");
    RgbImage read = read(file);
    assertArrayEquals(new int[] {101, 64, 0}, pixel(read, 0, 0));
    assertArrayEquals(new int[] {255, 204, 204}, pixel(read, 1, 0));
  }

  @Test
  void transparentPaletteEntriesAreLaidOnWhite() throws IOException {
    byte[] r = {10, (byte) 200};
    byte[] g = {20, 100};
    byte[] b = {30, 0};
    byte[] alpha = {0, (byte) 255};
    IndexColorModel palette = new IndexColorModel(8, 2, r, g, b, alpha);
    BufferedImage image = new BufferedImage(2, 1, BufferedImage.TYPE_BYTE_INDEXED, palette);
    image.getRaster().setSample(1, 0, 0, 1);
    for (String format : new String[] {"png", "gif"}) {
      RgbImage read = read(save(image, format));
      assertArrayEquals(new int[] {255, 255, 255}, pixel(read, 0, 0), format);
      assertArrayEquals(new int[] {200, 100, 0}, pixel(read, 1, 0), format);
    }
  }

  /** Lossless WebP of red whose alpha alternates between 51 and 255, and where the data ends. */
  private static byte[] webp(int width, int height) {
    BitSet bits = new BitSet();
    int at = 0;
    long[][] fields = {
      {0x2f, 8},
      {width - 1, 14},
      {height - 1, 14},
      {1, 1},
      {0, 3}, // alpha is used, version 0
      {0, 1},
      {0, 1},
      {0, 1}, // no transform, no colour cache, one group of codes
      {1, 1},
      {0, 1},
      {1, 1},
      {0, 8}, // green: always 0
      {1, 1},
      {0, 1},
      {1, 1},
      {255, 8}, // red: always 255
      {1, 1},
      {0, 1},
      {1, 1},
      {0, 8}, // blue
      {1, 1},
      {1, 1},
      {1, 1},
      {51, 8},
      {255, 8}, // alpha: a bit says which
      {1, 1},
      {0, 1},
      {0, 1},
      {0, 1}, // no distances
    };
    for (long[] field : fields) {
      for (int i = 0; i < field[1]; i++) {
        bits.set(at++, (field[0] >> i & 1) == 1);
      }
    }
    for (int i = 0; i < width * height; i++) {
      bits.set(at++, i % 2 == 1);
    }
    int length = (at + 7) / 8;
    int padded = length + length % 2;
    ByteBuffer file = ByteBuffer.allocate(20 + padded).order(ByteOrder.LITTLE_ENDIAN);
    file.put("RIFF".getBytes(StandardCharsets.US_ASCII)).putInt(12 + padded);
    file.put("WEBPVP8L".getBytes(StandardCharsets.US_ASCII)).putInt(length);
    return file.put(bits.toByteArray()).array();
  }

  @Test
  void losslessWebpIsReadAndItsAlphaLaidOnWhite() throws IOException {
    Path file = Files.write(folder.resolve("alpha.webp"), webp(30, 20));
    RgbImage read = read(file);
    assertEquals(30, read.width());
    assertEquals(20, read.height());
    assertArrayEquals(new int[] {255, 204, 204}, pixel(read, 28, 19));
    assertArrayEquals(new int[] {255, 0, 0}, pixel(read, 29, 19));
  }

  @Test
  void contentCountsNotTheName() throws IOException {
    BufferedImage image = new BufferedImage(5, 4, BufferedImage.TYPE_INT_RGB);
    Path file = Files.move(save(image, "png"), folder.resolve("picture.jpg"));
    assertEquals(5, read(file).width());
  }

  @Test
  void aDecompressionBombIsRefusedByItsHeader() throws IOException {
    // A whole PNG header that promises 60,000 x 60,000 pixels, and no pixels.
    ByteBuffer png = ByteBuffer.allocate(8 + 25);
    png.put(new byte[] {(byte) 0x89, 'P', 'N', 'G', 13, 10, 26, 10}).putInt(13);
    ByteBuffer header = ByteBuffer.allocate(17);
    header.put("IHDR".getBytes(StandardCharsets.US_ASCII)).putInt(60_000).putInt(60_000);
    header.put(new byte[] {8, 2, 0, 0, 0});
    CRC32 crc = new CRC32();
    crc.update(header.array());
    png.put(header.array()).putInt((int) crc.getValue());
    Path file = Files.write(folder.resolve("bomb.png"), png.array());
    String message = refusal(file, DataOptions.MAX_PIXELS);
    assertTrue(message.contains("60000x60000") && message.contains("178956970"), message);
  }

  @Test
  void thePixelLimitIsInclusive() throws IOException {
    Path file = save(new BufferedImage(10, 10, BufferedImage.TYPE_INT_RGB), "png");
    assertEquals(10, ImageFile.read(file, 100, false).oriWidth());
    refusal(file, 99);
  }

  @Test
  void emptyAndForeignFilesAreNamed() throws IOException {
    assertTrue(refusal(Files.createFile(folder.resolve("empty.png")), 100).contains("0 bytes"));
    refusal(Files.writeString(folder.resolve("text.png"), "Linked Image Not Found"), 100);
    refusal(Files.write(folder.resolve("zeros.png"), new byte[100]), 100);
  }

  @Test
  void truncatedFilesAreNamedWhereverTheyEnd() throws IOException {
    BufferedImage image = new BufferedImage(40, 30, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 1200; i++) {
      image.setRGB(i % 40, i / 40, i * 7919 & 0xffffff); // noise, so that there is data to miss
    }
    for (String format : new String[] {"png", "jpg", "gif", "bmp"}) {
      byte[] whole = Files.readAllBytes(save(image, format));
      for (double share : new double[] {0.01, 0.1, 0.5, 0.9}) {
        Path file = folder.resolve("cut." + format);
        Files.write(file, Arrays.copyOf(whole, Math.max(1, (int) (whole.length * share))));
        refusal(file, 10_000);
      }
    }
    byte[] webp = webp(30, 20);
    for (int length : new int[] {1, 15, 25, 60}) {
      refusal(Files.write(folder.resolve("cut.webp"), Arrays.copyOf(webp, length)), 10_000);
    }
  }

  @Test
  void picturesAreToldByTheirNames() {
    assertTrue(ImageFile.hasPictureName(Path.of("a/b.JPEG")));
    assertTrue(ImageFile.hasPictureName(Path.of("c.webp")));
    assertFalse(ImageFile.hasPictureName(Path.of("NOTICE.txt")));
    assertFalse(ImageFile.hasPictureName(Path.of(".png")));
  }
}
