package io.nit.trainer.data;

import io.nit.core.image.RgbImage;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Iterator;
import java.util.List;
import java.util.Locale;
import java.util.Set;
import javax.imageio.ImageIO;
import javax.imageio.ImageReader;
import javax.imageio.stream.ImageInputStream;

/**
 * Reads picture files that nobody vouches for: JPEG, PNG, WebP, GIF (first frame) and BMP, told
 * apart by their content. The size is read from the header and checked before memory is taken for
 * the pixels. The numbers in the file are taken as they are, without colour management, as the
 * authors' pipeline does; EXIF orientation of JPEG files is undone; alpha is laid on white.
 */
public final class ImageFile {
  private static final Set<String> FORMATS = Set.of("jpeg", "png", "webp", "gif", "bmp");
  private static final Set<String> EXTENSIONS = Set.of("jpg", "jpeg", "png", "webp", "gif", "bmp");

  private ImageFile() {}

  /** Whether a file is called as a picture that {@link #read} knows. */
  public static boolean hasPictureName(Path file) {
    String name = file.getFileName().toString();
    int dot = name.lastIndexOf('.');
    return dot > 0 && EXTENSIONS.contains(name.substring(dot + 1).toLowerCase(Locale.ROOT));
  }

  /**
   * Reads a picture.
   *
   * @param maxPixels a picture of more pixels is refused before it is decoded
   * @param cropAlpha whether to crop to the box where alpha is above 8
   * @throws IOException if the file cannot be read, is empty, truncated or no picture, is larger
   *     than {@code maxPixels}, or has nothing left to crop to; names the file
   */
  public static Picture read(Path file, long maxPixels, boolean cropAlpha) throws IOException {
    if (Files.size(file) == 0) {
      throw new IOException(file + ": expected a picture, found a file of 0 bytes");
    }
    try (ImageInputStream in = ImageIO.createImageInputStream(file.toFile())) {
      if (in == null) {
        throw new IOException(file + ": cannot be opened");
      }
      ImageReader reader = reader(file, in);
      try {
        return read(file, in, reader, maxPixels, cropAlpha);
      } catch (RuntimeException e) {
        // The decoders meet broken files with all kinds of unchecked exceptions.
        throw new IOException(file + ": cannot be decoded: " + e, e);
      } finally {
        reader.dispose();
      }
    }
  }

  private static Picture read(
      Path file, ImageInputStream in, ImageReader reader, long maxPixels, boolean cropAlpha)
      throws IOException {
    if (format(reader).equals("webp")) {
      requireWholeRiff(file, in);
    }
    int orientation = format(reader).equals("jpeg") ? ExifOrientation.read(in) : 1;
    in.seek(0);
    reader.setInput(in, false, true);
    long pixels = pixels(file, reader);
    if (pixels > maxPixels) {
      throw new IOException(
          file
              + ": expected at most "
              + maxPixels
              + " pixels, found "
              + reader.getWidth(0)
              + "x"
              + reader.getHeight(0));
    }
    int room = DecodeMemory.acquire(pixels);
    try {
      Pixels decoded = Pixels.of(decode(file, reader));
      RgbImage image = ExifOrientation.upright(decoded.onWhite(), orientation);
      RgbImage kept = cropAlpha ? decoded.cropped(image) : image;
      if (kept == null) {
        throw new IOException(file + ": expected a visible pixel, found alpha of 8 or less only");
      }
      return new Picture(kept, image.width(), image.height());
    } catch (OutOfMemoryError e) {
      throw new IOException(
          file + ": " + pixels + " pixels need a larger heap (NIT_JAVA_OPTS=-Xmx…)", e);
    } finally {
      DecodeMemory.release(room);
    }
  }

  /** The WebP decoder takes what is missing for zeros, so the length in the header is checked. */
  private static void requireWholeRiff(Path file, ImageInputStream in) throws IOException {
    in.seek(0);
    byte[] header = new byte[8];
    in.readFully(header);
    long expected =
        header.length
            + Integer.toUnsignedLong(
                ByteBuffer.wrap(header).order(ByteOrder.LITTLE_ENDIAN).getInt(4));
    long found = Files.size(file);
    if (found + 1 < expected) { // the last byte may be padding, which some writers leave out
      throw new IOException(file + ": truncated: expected " + expected + " bytes, found " + found);
    }
  }

  private static long pixels(Path file, ImageReader reader) throws IOException {
    try {
      return (long) reader.getWidth(0) * reader.getHeight(0);
    } catch (IOException e) {
      throw new IOException(file + ": cannot be decoded: " + e.getMessage(), e);
    }
  }

  private static BufferedImage decode(Path file, ImageReader reader) throws IOException {
    TruncationListener truncation = new TruncationListener();
    reader.addIIOReadWarningListener(truncation);
    BufferedImage decoded;
    try {
      decoded = reader.read(0);
    } catch (IOException e) {
      throw new IOException(file + ": cannot be decoded: " + e.getMessage(), e);
    }
    if (truncation.message() != null) {
      throw new IOException(file + ": truncated: " + truncation.message());
    }
    return decoded;
  }

  /** Only decoders that are meant: others take any junk for theirs, WBMP for one. */
  private static ImageReader reader(Path file, ImageInputStream in) throws IOException {
    for (Iterator<ImageReader> all = ImageIO.getImageReaders(in); all.hasNext(); ) {
      ImageReader reader = all.next();
      if (FORMATS.contains(format(reader))) {
        return reader;
      }
    }
    throw new IOException(file + ": expected a JPEG, PNG, WebP, GIF or BMP picture, found none");
  }

  private static String format(ImageReader reader) {
    List<String> names =
        reader.getOriginatingProvider() == null
            ? List.of()
            : List.of(reader.getOriginatingProvider().getFormatNames());
    return names.stream()
        .map(name -> name.toLowerCase(Locale.ROOT))
        .filter(FORMATS::contains)
        .findFirst()
        .orElse("");
  }
}
