package io.nit.trainer.data;

import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.nio.file.Path;

/** Brings pictures to the sizes that are trained on. */
public final class Resize {
  /** A picture is not blown up beyond this for a crop: 1 pixel high, it may ask for anything. */
  private static final long MAX_INTERMEDIATE_PIXELS = 1L << 26;

  private Resize() {}

  /**
   * A size in pixels.
   *
   * @param width 1 or more
   * @param height 1 or more
   */
  public record Size(int width, int height) {
    /** That of a picture. */
    static Size of(RgbImage image) {
      return new Size(image.width(), image.height());
    }
  }

  /**
   * The native-resolution size of a picture: each side floored to a multiple, after shrinking to an
   * area of {@code maxSide²} where the picture has that area or more. No side falls below one
   * multiple.
   *
   * @param width pixels
   * @param height pixels
   * @param multiple m, codec factor × patch size
   * @param maxSide cap M, in pixels
   */
  public static Size nativeSize(int width, int height, int multiple, int maxSide) {
    if ((long) width * height < (long) maxSide * maxSide) {
      return new Size(floor(width, multiple), floor(height, multiple));
    }
    double w = Math.sqrt((double) width / height) * maxSide;
    double h = w * height / width;
    return new Size(floor(w, multiple), floor(h, multiple));
  }

  /**
   * The cap M that also keeps a picture within a token budget: the largest square of that many
   * tokens, or {@code maxSide} where that is smaller. Very elongated pictures may still exceed the
   * budget, as no side falls below one multiple.
   */
  public static int maxSide(int maxSide, int maxTokens, int multiple) {
    return (int) Math.min(maxSide, (long) Math.sqrt(maxTokens) * multiple);
  }

  private static int floor(double side, int multiple) {
    return Math.max(1, (int) (side / multiple)) * multiple;
  }

  /** A picture at its {@link #nativeSize}, bicubic. */
  public static RgbImage nativeResolution(RgbImage image, int multiple, int maxSide) {
    Size size = nativeSize(image.width(), image.height(), multiple, maxSide);
    return Resampling.BICUBIC.resize(image, size.width, size.height);
  }

  /**
   * A picture at its {@link #nativeSize}, if that fits the token budget.
   *
   * @param source the picture's file, for the message
   * @throws IOException if it takes more than {@code maxTokens} tokens
   */
  static RgbImage nativeResolution(
      Path source, RgbImage image, int multiple, int maxSide, int maxTokens) throws IOException {
    Size size = nativeSize(image.width(), image.height(), multiple, maxSide);
    long tokens = (long) size.width / multiple * (size.height / multiple);
    if (tokens > maxTokens) {
      throw new IOException(
          source + ": expected at most " + maxTokens + " tokens (--max-tokens), found " + tokens);
    }
    return nativeResolution(image, multiple, maxSide);
  }

  /**
   * The middle square of a picture: halved by a box filter while the short side is at least twice
   * the size, brought to the size by the short side, bicubic, and cropped.
   *
   * @param side pixels of the square
   * @throws IllegalArgumentException if the picture is so elongated that its long side would not
   *     fit into memory
   */
  public static RgbImage centerSquare(RgbImage image, int side) {
    RgbImage halved = image;
    while (Math.min(halved.width(), halved.height()) >= 2 * side) {
      halved = Resampling.BOX.resize(halved, halved.width() / 2, halved.height() / 2);
    }
    double scale = (double) side / Math.min(halved.width(), halved.height());
    long width = (long) Math.rint(halved.width() * scale);
    long height = (long) Math.rint(halved.height() * scale);
    requireRoom(image, width, height, side);
    RgbImage scaled = Resampling.BICUBIC.resize(halved, (int) width, (int) height);
    return crop(scaled, (scaled.width() - side) / 2, (scaled.height() - side) / 2, side, side);
  }

  /**
   * A picture whose sides are {@code side} or more: itself, or enlarged by the short side, bicubic.
   *
   * @throws IllegalArgumentException if the picture is so elongated that its long side would not
   *     fit into memory
   */
  public static RgbImage cover(RgbImage image, int side) {
    int shorter = Math.min(image.width(), image.height());
    if (shorter >= side) {
      return image;
    }
    double scale = (double) side / shorter;
    long width = Math.max(side, (long) Math.rint(image.width() * scale));
    long height = Math.max(side, (long) Math.rint(image.height() * scale));
    requireRoom(image, width, height, side);
    return Resampling.BICUBIC.resize(image, (int) width, (int) height);
  }

  private static void requireRoom(RgbImage image, long width, long height, int side) {
    if (width * height > MAX_INTERMEDIATE_PIXELS) {
      throw new IllegalArgumentException(
          "picture of "
              + image.width()
              + "x"
              + image.height()
              + " is too elongated for a square of "
              + side);
    }
  }

  /** A part of a picture, in pixels from its upper left corner. */
  public static RgbImage crop(RgbImage image, int x, int y, int width, int height) {
    if (width == image.width() && height == image.height()) {
      return image;
    }
    byte[] rgb = new byte[3 * width * height];
    for (int row = 0; row < height; row++) {
      System.arraycopy(
          image.rgb(), 3 * ((y + row) * image.width() + x), rgb, 3 * row * width, 3 * width);
    }
    return new RgbImage(width, height, rgb);
  }

  /** A picture mirrored left to right. */
  public static RgbImage mirror(RgbImage image) {
    int line = 3 * image.width();
    byte[] rgb = new byte[image.rgb().length];
    for (int row = 0; row < rgb.length; row += line) {
      for (int x = 0; x < line; x += 3) {
        System.arraycopy(image.rgb(), row + x, rgb, row + line - 3 - x, 3);
      }
    }
    return new RgbImage(image.width(), image.height(), rgb);
  }
}
