package io.nit.core.image;

import java.awt.Graphics2D;
import java.awt.image.BufferedImage;
import java.awt.image.DataBufferByte;
import java.nio.FloatBuffer;
import java.util.Optional;
import java.util.stream.IntStream;

/**
 * An 8-bit picture.
 *
 * @param width pixels
 * @param height pixels
 * @param rgb [height, width, 3], row-major, not copied
 */
public record RgbImage(int width, int height, byte[] rgb) {
  /** Pixels that are turned into levels at a time: their planes stay in the nearest cache. */
  private static final int BLOCK = 1024;

  /** Pixels that are worth a thread of their own. */
  private static final int BAND = 32 * BLOCK;

  /** Below a half by its last bit: no sum of it and a value below a half rounds up to 1. */
  private static final float HALF = 0.49999997f;

  private static final int NAN = 1;
  private static final int INFINITE = 2;

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
    if ((fill(rgb, FloatBuffer.wrap(planes)) & NAN) != 0) {
      throw new IllegalArgumentException("the decoded picture holds NaN");
    }
    return new RgbImage(width, height, rgb);
  }

  /**
   * From planes as {@link #ofPlanes} takes them, wherever they lie; several threads read them.
   *
   * @param planes [3, height, width] from its position on; stays as it is
   * @return the picture; empty if a value is NaN or infinite
   */
  public static Optional<RgbImage> ofFinitePlanes(FloatBuffer planes, int height, int width) {
    byte[] rgb = new byte[3 * height * width];
    return fill(rgb, planes.slice()) == 0
        ? Optional.of(new RgbImage(width, height, rgb))
        : Optional.empty();
  }

  /** Fills a picture, in bands beside one another where it is large; tells what is not finite. */
  private static int fill(byte[] rgb, FloatBuffer planes) {
    int area = rgb.length / 3;
    int bands = Math.max(1, area / BAND);
    int length = ((area + bands - 1) / bands + BLOCK - 1) / BLOCK * BLOCK;
    IntStream starts = IntStream.range(0, bands);
    return (bands > 1 ? starts.parallel() : starts)
        .map(i -> fill(rgb, planes, i * length, Math.min(area, (i + 1) * length)))
        .reduce(0, (found, more) -> found | more);
  }

  private static int fill(byte[] rgb, FloatBuffer planes, int from, int to) {
    int area = rgb.length / 3;
    float[][] levels = new float[3][BLOCK];
    int found = 0;
    for (int at = from; at < to; at += BLOCK) {
      int count = Math.min(BLOCK, to - at);
      for (int c = 0; c < 3; c++) {
        planes.get(c * area + at, levels[c], 0, count);
        found |= notFinite(levels[c], count);
        toLevels(levels[c], count);
      }
      put(levels[0], levels[1], levels[2], count, rgb, 3 * at);
    }
    return found;
  }

  /** Which values there are that are not finite: one makes the sum so, which most often tells. */
  private static int notFinite(float[] values, int count) {
    float a = 0; // four chains of additions, which need not wait for one another
    float b = 0;
    float c = 0;
    float d = 0;
    int i = 0;
    for (; i + 3 < count; i += 4) {
      a += values[i];
      b += values[i + 1];
      c += values[i + 2];
      d += values[i + 3];
    }
    for (; i < count; i++) {
      a += values[i];
    }
    int found = 0;
    if (!Float.isFinite(a + b + c + d)) {
      for (i = 0; i < count; i++) {
        found |= Float.isNaN(values[i]) ? NAN : Float.isInfinite(values[i]) ? INFINITE : 0;
      }
    }
    return found;
  }

  /**
   * To what is cut to levels, the half that rounds included; a simple loop, which the compiler
   * turns into vector code.
   */
  private static void toLevels(float[] values, int count) {
    for (int i = 0; i < count; i++) {
      values[i] = Math.min(255, Math.max(0, (values[i] + 1) * 127.5f)) + HALF;
    }
  }

  private static void put(float[] r, float[] g, float[] b, int count, byte[] rgb, int at) {
    for (int i = 0, to = at; i < count; i++, to += 3) {
      rgb[to] = (byte) (int) r[i];
      rgb[to + 1] = (byte) (int) g[i];
      rgb[to + 2] = (byte) (int) b[i];
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
