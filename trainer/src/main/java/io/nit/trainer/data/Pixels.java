package io.nit.trainer.data;

import io.nit.core.image.RgbImage;
import java.awt.color.ColorSpace;
import java.awt.image.BufferedImage;
import java.awt.image.ColorModel;
import java.awt.image.ComponentColorModel;
import java.awt.image.DataBuffer;
import java.awt.image.IndexColorModel;
import java.awt.image.Raster;

/**
 * A decoded image as 8-bit RGB and alpha. Grey, RGB and CMYK samples are read from the raster's own
 * bands: {@link BufferedImage#getRGB} would take grey for linear light and brighten it (64 comes
 * out as 137).
 */
final class Pixels {
  private static final int VISIBLE_ALPHA = 8;

  private final int width;
  private final int height;
  private final byte[] rgb;
  private final byte[] alpha; // null where every pixel is opaque

  private Pixels(int width, int height, byte[] rgb, byte[] alpha) {
    this.width = width;
    this.height = height;
    this.rgb = rgb;
    this.alpha = alpha;
  }

  static Pixels of(BufferedImage image) {
    int width = image.getWidth();
    int height = image.getHeight();
    ColorModel model = image.getColorModel();
    Pixels pixels =
        new Pixels(
            width,
            height,
            new byte[Math.multiplyExact(3, Math.multiplyExact(width, height))],
            model.hasAlpha() ? new byte[width * height] : null);
    if (model instanceof IndexColorModel palette) {
      pixels.fillFromPalette(image.getRaster(), palette);
    } else if (isPlain(model)) {
      pixels.fillFromBands(image.getRaster(), model);
    } else {
      pixels.fillFromRgb(image);
    }
    return pixels;
  }

  /** Samples that mean what they say: whole numbers, not multiplied by alpha, no lookup. */
  private static boolean isPlain(ColorModel model) {
    int type = model.getColorSpace().getType();
    return model instanceof ComponentColorModel
        && !model.isAlphaPremultiplied()
        && (model.getTransferType() == DataBuffer.TYPE_BYTE
            || model.getTransferType() == DataBuffer.TYPE_USHORT)
        && (type == ColorSpace.TYPE_GRAY
            || type == ColorSpace.TYPE_RGB
            || type == ColorSpace.TYPE_CMYK);
  }

  private void fillFromBands(Raster raster, ColorModel model) {
    int colors = model.getNumColorComponents();
    int bands = raster.getNumBands();
    int[] max = new int[bands];
    for (int b = 0; b < bands; b++) {
      max[b] = (1 << model.getComponentSize(b)) - 1;
    }
    int[] row = new int[width * bands];
    for (int y = 0; y < height; y++) {
      raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
      for (int x = 0; x < width; x++) {
        int from = x * bands;
        int to = y * width + x;
        if (colors == 4) {
          int key = 255 - to8(row[from + 3], max[3]);
          for (int c = 0; c < 3; c++) {
            rgb[3 * to + c] = (byte) (((255 - to8(row[from + c], max[c])) * key + 127) / 255);
          }
        } else {
          for (int c = 0; c < 3; c++) {
            int band = colors == 1 ? 0 : c;
            rgb[3 * to + c] = (byte) to8(row[from + band], max[band]);
          }
        }
        if (alpha != null) {
          alpha[to] = (byte) to8(row[from + colors], max[colors]);
        }
      }
    }
  }

  private static int to8(int sample, int max) {
    return max == 255 ? sample : (sample * 255 + max / 2) / max;
  }

  private void fillFromPalette(Raster raster, IndexColorModel palette) {
    int[] colors = new int[palette.getMapSize()];
    palette.getRGBs(colors);
    int[] row = new int[width];
    for (int y = 0; y < height; y++) {
      raster.getPixels(raster.getMinX(), raster.getMinY() + y, width, 1, row);
      for (int x = 0; x < width; x++) {
        put(y * width + x, colors[row[x]]);
      }
    }
  }

  private void fillFromRgb(BufferedImage image) {
    int[] row = new int[width];
    for (int y = 0; y < height; y++) {
      image.getRGB(0, y, width, 1, row, 0, width);
      for (int x = 0; x < width; x++) {
        put(y * width + x, row[x]);
      }
    }
  }

  private void put(int to, int argb) {
    rgb[3 * to] = (byte) (argb >> 16);
    rgb[3 * to + 1] = (byte) (argb >> 8);
    rgb[3 * to + 2] = (byte) argb;
    if (alpha != null) {
      alpha[to] = (byte) (argb >>> 24);
    }
  }

  /** The picture laid on white; changes this object's pixels, so it is called once. */
  RgbImage onWhite() {
    if (alpha != null) {
      for (int i = 0; i < alpha.length; i++) {
        int a = alpha[i] & 0xff;
        if (a < 255) {
          for (int c = 3 * i; c < 3 * i + 3; c++) {
            rgb[c] = (byte) (((rgb[c] & 0xff) * a + 255 * (255 - a) + 127) / 255);
          }
        }
      }
    }
    return new RgbImage(width, height, rgb);
  }

  /**
   * A picture of this size, cropped to the box where alpha is above 8; the same where all is
   * opaque, null where nothing is visible.
   */
  RgbImage cropped(RgbImage image) {
    if (alpha == null) {
      return image;
    }
    int left = width;
    int right = -1;
    int top = height;
    int bottom = -1;
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        if ((alpha[y * width + x] & 0xff) > VISIBLE_ALPHA) {
          left = Math.min(left, x);
          right = Math.max(right, x);
          top = Math.min(top, y);
          bottom = y;
        }
      }
    }
    return right < 0 ? null : Resize.crop(image, left, top, right - left + 1, bottom - top + 1);
  }
}
