package io.nit.trainer.data;

import io.nit.core.codec.LatentCodec;
import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.HashSet;
import java.util.List;
import java.util.Optional;
import java.util.Set;

/**
 * The pictures of a data set that is prepared, by their place in it, and the latent files that they
 * become. Safe for several threads.
 */
final class PictureSource {
  private final PrepareOptions options;
  private final LatentCodec codec;
  private final ImageFolder folder;
  private final String[] latentFiles;
  private final int nativeMaxSide;

  /** Lists the pictures. */
  PictureSource(PrepareOptions options, LatentCodec codec) throws IOException {
    this.options = options;
    this.codec = codec;
    this.folder = ImageFolder.scan(options.data());
    this.latentFiles = latentFiles(folder.entries());
    this.nativeMaxSide = Resize.maxSide(options.maxSide(), options.maxTokens(), options.multiple());
  }

  ImageFolder folder() {
    return folder;
  }

  /** Number of pictures. */
  int count() {
    return folder.entries().size();
  }

  /** Cap M of native resolution that the token budget leaves. */
  int nativeMaxSide() {
    return nativeMaxSide;
  }

  /**
   * Bytes of a picture's file.
   *
   * @throws IOException if it cannot be read
   */
  long bytes(int image) throws IOException {
    return Files.size(path(image));
  }

  /**
   * Decodes a picture.
   *
   * @throws IOException as {@link ImageFile#read}
   */
  Picture read(int image) throws IOException {
    return ImageFile.read(path(image), options.maxPixels(), options.cropAlpha());
  }

  /**
   * Brings a picture to its size.
   *
   * @throws IOException if it is too elongated, or exceeds the token budget
   */
  RgbImage resize(int image, Picture picture, DataType type) throws IOException {
    Path source = path(image);
    if (type != DataType.NATIVE_RESOLUTION) {
      try {
        return Resize.centerSquare(picture.image(), type.side());
      } catch (IllegalArgumentException e) {
        throw new IOException(source + ": " + e.getMessage(), e);
      }
    }
    return Resize.nativeResolution(
        source, picture.image(), options.multiple(), nativeMaxSide, options.maxTokens());
  }

  /** The row of a latent file that was written whole for this picture; empty if there is none. */
  Optional<DataMeta.Row> existing(int image, DataType type, long bytes) {
    return PreparedImage.existing(
        file(image, type),
        folder.entries().get(image),
        latentFiles[image],
        bytes,
        type,
        codec,
        options);
  }

  /**
   * Writes a latent file, atomically.
   *
   * @param original pixels of the file's picture
   * @param size pixels of the picture that the latents are of
   * @param latents plain and mirrored, [2, C, H, W]
   * @throws PreparedImage.NotFiniteException if the latents are not finite; nothing is written then
   */
  DataMeta.Row write(
      int image, DataType type, long bytes, Resize.Size original, Resize.Size size, float[] latents)
      throws IOException {
    return PreparedImage.write(
        file(image, type),
        folder.entries().get(image),
        latentFiles[image],
        bytes,
        original,
        size,
        type,
        latents,
        codec,
        options);
  }

  /** The entry of a picture that is left out. */
  Skipped skipped(int image, IOException problem) {
    return new Skipped(folder.entries().get(image).imageFile(), reason(problem, path(image)));
  }

  private Path path(int image) {
    return folder.file(folder.entries().get(image));
  }

  private Path file(int image, DataType type) {
    return options.output().resolve("latents").resolve(type.key()).resolve(latentFiles[image]);
  }

  /** The message without the folder, which says nothing and makes the list differ elsewhere. */
  private static String reason(IOException e, Path source) {
    String message = String.valueOf(e.getMessage());
    return message.startsWith(source + ": ")
        ? message.substring((source + ": ").length())
        : message;
  }

  /**
   * Latent files by picture: its path with another ending, as the authors name them. Where two
   * pictures differ in their ending only, the later one keeps it in the name.
   */
  private static String[] latentFiles(List<ImageFolder.Entry> entries) {
    String[] files = new String[entries.size()];
    Set<String> taken = new HashSet<>();
    for (int i = 0; i < files.length; i++) {
      String name = entries.get(i).imageFile();
      String file = name.substring(0, name.lastIndexOf('.')) + ".safetensors";
      for (int n = 0; !taken.add(file); n++) {
        file = name + (n == 0 ? "" : "." + n) + ".safetensors";
      }
      files[i] = file;
    }
    return files;
  }
}
