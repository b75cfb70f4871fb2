package io.nit.trainer.data;

import java.io.IOException;
import java.nio.file.Path;

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
   * @throws IOException if a file cannot be read
   * @throws IllegalArgumentException if the folder is neither, or holds no usable image
   */
  public static TrainingData open(Path folder, DataOptions options) throws IOException {
    throw new UnsupportedOperationException("data sets land next");
  }
}
