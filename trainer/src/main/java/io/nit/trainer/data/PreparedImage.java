package io.nit.trainer.data;

import io.nit.core.codec.Decoded;
import io.nit.core.codec.LatentCodec;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;
import java.util.Optional;

/**
 * The latent file of one picture and type, as {@link LatentPreparer} writes it: {@link LatentFile}
 * plus {@code __metadata__} that says which picture it was made of ({@code image_file}, {@code
 * image_bytes}, {@code ori_w}, {@code ori_h}), by which a resumed run knows it again.
 */
final class PreparedImage {
  private PreparedImage() {}

  /**
   * Writes the file, atomically.
   *
   * @param imageBytes size of the picture's file
   * @param size pixels of the picture that the latents are of
   * @param latents plain and mirrored, [2, C, H, W]
   * @throws NotFiniteException if they hold what is no finite number in the type on disk; nothing
   *     is written then
   */
  static DataMeta.Row write(
      Path file,
      ImageFolder.Entry entry,
      String latentFile,
      long imageBytes,
      Resize.Size original,
      Resize.Size size,
      DataType type,
      float[] latents,
      LatentCodec codec,
      PrepareOptions options)
      throws IOException {
    int h = size.height() / codec.factor();
    int w = size.width() / codec.factor();
    HostTensor latent =
        HostTensor.of(LatentFile.LATENT, latents, 2, codec.channels(), h, w).to(options.dtype());
    if (!Decoded.finite(latent.toFloats())) {
      throw new NotFiniteException("the latent of " + type.key() + " holds NaN or infinity");
    }
    new SafetensorsWriter()
        .metadata("image_file", entry.imageFile())
        .metadata("image_bytes", Long.toString(imageBytes))
        .metadata("ori_w", Integer.toString(original.width()))
        .metadata("ori_h", Integer.toString(original.height()))
        .add(latent)
        .add(HostTensor.of(LatentFile.LABEL, new long[] {entry.label()}))
        .write(file);
    return row(entry, latentFile, original.width(), original.height(), h, w, codec, type);
  }

  /** A latent that nothing can be learned from. */
  static final class NotFiniteException extends IOException {
    private static final long serialVersionUID = 1;

    NotFiniteException(String message) {
      super(message);
    }
  }

  /** The row of a file that an earlier run wrote whole for this picture; empty if there is none. */
  static Optional<DataMeta.Row> existing(
      Path file,
      ImageFolder.Entry entry,
      String latentFile,
      long imageBytes,
      DataType type,
      LatentCodec codec,
      PrepareOptions options) {
    if (!Files.exists(file)) {
      return Optional.empty();
    }
    try (SafetensorsFile found = SafetensorsFile.open(file)) {
      Map<String, String> metadata = found.metadata();
      TensorSpec latent = found.specs().get(LatentFile.LATENT);
      if (!entry.imageFile().equals(metadata.get("image_file"))
          || !Long.toString(imageBytes).equals(metadata.get("image_bytes"))
          || latent == null
          || latent.dtype() != options.dtype()
          || latent.shape().rank() != 4
          || found.tensor(LatentFile.LABEL).toLongs()[0] != entry.label()) {
        return Optional.empty();
      }
      int h = Math.toIntExact(latent.shape().dim(2));
      int w = Math.toIntExact(latent.shape().dim(3));
      if (!latent.shape().equals(Shape.of(2, codec.channels(), h, w))) {
        return Optional.empty();
      }
      return Optional.of(
          row(
              entry,
              latentFile,
              Integer.parseInt(metadata.get("ori_w")),
              Integer.parseInt(metadata.get("ori_h")),
              h,
              w,
              codec,
              type));
    } catch (IOException | RuntimeException e) {
      return Optional.empty(); // a broken file is written again
    }
  }

  private static DataMeta.Row row(
      ImageFolder.Entry entry,
      String latentFile,
      int oriWidth,
      int oriHeight,
      int h,
      int w,
      LatentCodec codec,
      DataType type) {
    return new DataMeta.Row(
        entry.imageFile(),
        latentFile,
        oriWidth,
        oriHeight,
        h,
        w,
        h * codec.factor(),
        w * codec.factor(),
        type);
  }
}
