package io.nit.trainer.data;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Optional;

/** Opens data sets by what lies in their folder. */
public final class TrainingDataSets {
  private TrainingDataSets() {}

  /**
   * Opens a data set: prepared latents where there is a data meta file, else class folders of
   * pictures.
   *
   * @param folder the data set
   * @param options how to read and pack it
   * @return the data set; the caller closes it
   * @throws IOException if there is no such folder, or a file cannot be read
   * @throws IllegalArgumentException if it is neither, or it holds no usable image
   */
  public static TrainingData open(Path folder, DataOptions options) throws IOException {
    if (!Files.isDirectory(folder)) {
      throw new IOException(
          "--data: expected a folder of pictures or prepared latents, found "
              + (Files.exists(folder) ? "the file " : "nothing at ")
              + folder);
    }
    Optional<Path> meta = LatentData.findMeta(folder);
    if (meta.isEmpty() && options.samplerMeta().isPresent()) {
      throw new IllegalArgumentException(
          "--sampler-meta: expected prepared latents as --data, found no data meta file in "
              + folder);
    }
    return meta.isPresent()
        ? new LatentData(folder, meta.get(), options)
        : new ImageFolderData(folder, options);
  }
}
