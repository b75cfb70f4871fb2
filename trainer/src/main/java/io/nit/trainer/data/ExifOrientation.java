package io.nit.trainer.data;

import com.twelvemonkeys.imageio.metadata.Entry;
import com.twelvemonkeys.imageio.metadata.jpeg.JPEG;
import com.twelvemonkeys.imageio.metadata.jpeg.JPEGSegment;
import com.twelvemonkeys.imageio.metadata.jpeg.JPEGSegmentUtil;
import com.twelvemonkeys.imageio.metadata.tiff.TIFF;
import com.twelvemonkeys.imageio.metadata.tiff.TIFFReader;
import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.io.InputStream;
import java.util.List;
import javax.imageio.stream.ImageInputStream;
import javax.imageio.stream.MemoryCacheImageInputStream;

/** How a camera was held: the EXIF orientation of a JPEG file, 1 (upright) to 8. */
final class ExifOrientation {
  private ExifOrientation() {}

  /** The orientation in a JPEG file's EXIF segment; 1 where there is none or it is broken. */
  static int read(ImageInputStream jpeg) {
    try {
      List<JPEGSegment> segments = JPEGSegmentUtil.readSegments(jpeg, JPEG.APP1, "Exif");
      if (segments.isEmpty()) {
        return 1;
      }
      try (InputStream data = segments.get(0).segmentData()) {
        data.skipNBytes("Exif\0\0".length());
        Entry entry =
            new TIFFReader()
                .read(new MemoryCacheImageInputStream(data))
                .getEntryById(TIFF.TAG_ORIENTATION);
        if (entry != null && entry.getValue() instanceof Number value) {
          int orientation = value.intValue();
          return orientation >= 1 && orientation <= 8 ? orientation : 1;
        }
        return 1;
      }
    } catch (IOException | RuntimeException e) {
      return 1; // a picture is not given up for its EXIF block
    }
  }

  /** Turns and mirrors a picture of an orientation upright. */
  static RgbImage upright(RgbImage image, int orientation) {
    if (orientation == 1) {
      return image;
    }
    int w = image.width();
    int h = image.height();
    boolean sideways = orientation >= 5;
    int width = sideways ? h : w;
    int height = sideways ? w : h;
    byte[] from = image.rgb();
    byte[] to = new byte[from.length];
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        int sx = sideways ? y : x;
        int sy = sideways ? x : y;
        if (orientation == 2 || orientation == 3 || orientation == 7 || orientation == 8) {
          sx = w - 1 - sx;
        }
        if (orientation == 3 || orientation == 4 || orientation == 6 || orientation == 7) {
          sy = h - 1 - sy;
        }
        System.arraycopy(from, 3 * (sy * w + sx), to, 3 * (y * width + x), 3);
      }
    }
    return new RgbImage(width, height, to);
  }
}
