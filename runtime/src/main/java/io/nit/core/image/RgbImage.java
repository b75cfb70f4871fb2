package io.nit.core.image;

import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.awt.image.DataBufferByte;

/**
 * An 8-bit picture.
 *
 * @param width pixels
 * @param height pixels
 * @param rgb [height, width, 3], row-major, not copied
 */
public record RgbImage(int width, int height, byte[] rgb) {
  /** Values that are turned into levels at a time: they stay in the nearest cache. */
  private static final int BLOCK = 1024;

  /** Checks the size. */
  public RgbImage {
    if (width < 1 || height < 1 || rgb.length != 3L * width * height) {
      throw new IllegalArgumentException(
          "expected " + width + "x" + height + "x3 bytes, found " + rgb.length);
    }
  }

  /**
   * From planes in [-1, 1]: clamp((x+1)/2·255), rounded.
   *
   * @param planes [3, height, width]
   * @throws IllegalArgumentException if a value is NaN: such a picture is never made
   */
  public static RgbImage ofPlanes(float[] planes, int height, int width) {
    byte[] rgb = new byte[3 * height * width];
    int area = height * width;
    int[] levels = new int[Math.min(BLOCK, area)];
    for (int c = 0; c < 3; c++) {
      for (int from = 0; from < area; from += BLOCK) {
        int count = Math.min(BLOCK, area - from);
        toLevels(planes, c * area + from, count, levels);
        for (int i = 0; i < count; i++) {
          rgb[3 * (from + i) + c] = (byte) levels[i];
        }
      }
    }
    return new RgbImage(width, height, rgb);
  }

  /** Levels of a run of values; simple loops, which the compiler turns into vector code. */
  private static void toLevels(float[] planes, int from, int count, int[] levels) {
    for (int i = 0; i < count; i++) {
      float value = planes[from + i];
      if (value != value) {
        throw new IllegalArgumentException("the decoded picture holds NaN");
      }
    }
    for (int i = 0; i < count; i++) {
      double level = (planes[from + i] + 1) * 127.5f;
      levels[i] = Math.max(0, Math.min(255, (int) (level + 0.5)));
    }
  }

  /** To planes in [-1, 1], [3, height, width]. */
  public float[] toPlanes() {
    int area = height * width;
    float[] planes = new float[3 * area];
    for (int c = 0; c < 3; c++) {
      for (int i = 0; i < area; i++) {
        planes[c * area + i] = (rgb[3 * i + c] & 0xff) / 127.5f - 1;
      }
    }
    return planes;
  }

  /** A copy for Java's imaging classes, {@code TYPE_3BYTE_BGR}. */
  public BufferedImage toBufferedImage() {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_3BYTE_BGR);
    byte[] bgr = ((DataBufferByte) image.getRaster().getDataBuffer()).getData();
    for (int i = 0; i < bgr.length; i += 3) {
      bgr[i] = rgb[i + 2];
      bgr[i + 1] = rgb[i + 1];
      bgr[i + 2] = rgb[i];
    }
    return image;
  }

  /**
   * A copy of a {@code TYPE_3BYTE_BGR} or {@code TYPE_INT_RGB} image; others are drawn on one
   * first.
   */
  public static RgbImage of(BufferedImage image) {
    BufferedImage bgr = image;
    if (image.getType() != BufferedImage.TYPE_3BYTE_BGR) {
      bgr = new BufferedImage(image.getWidth(), image.getHeight(), BufferedImage.TYPE_3BYTE_BGR);
      Graphics2D g = bgr.createGraphics();
      g.drawImage(image, 0, 0, null);
      g.dispose();
    }
    byte[] data = ((DataBufferByte) bgr.getRaster().getDataBuffer()).getData();
    byte[] rgb = new byte[data.length];
    for (int i = 0; i < data.length; i += 3) {
      rgb[i] = data[i + 2];
      rgb[i + 1] = data[i + 1];
      rgb[i + 2] = data[i];
    }
    return new RgbImage(image.getWidth(), image.getHeight(), rgb);
  }
}
