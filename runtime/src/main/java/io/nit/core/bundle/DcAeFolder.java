package io.nit.core.bundle;

import io.nit.core.codec.DcAeSpec;
import io.nit.core.config.DcAeConfig;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.Sha256;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DcAeTensors;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * A DC-AE in diffusers' folder layout: {@code config.json} and {@code
 * diffusion_pytorch_model.safetensors}, as published and as {@code nit-train autoencoder} leaves
 * one.
 *
 * @param folder where the two files lie
 * @param config what {@code config.json} says
 */
public record DcAeFolder(Path folder, DcAeConfig config) {
  /** Name of the weights file. */
  public static final String WEIGHTS = "diffusion_pytorch_model.safetensors";

  /**
   * Opens a folder, or that of a whole pipeline with the autoencoder in its {@code vae} folder.
   *
   * @throws NoSuchFileException if the folder or one of its files is not there
   * @throws IllegalArgumentException if the config is of another family; names the key
   * @throws IOException if a file cannot be read
   */
  public static DcAeFolder open(Path folder) throws IOException {
    Path inner = folder.resolve("vae");
    Path found = Files.exists(inner.resolve(DcAeConfig.FILE)) ? inner : folder;
    for (String name : new String[] {DcAeConfig.FILE, WEIGHTS}) {
      if (!Files.isRegularFile(found.resolve(name))) {
        throw new NoSuchFileException(
            found.resolve(name).toString(),
            null,
            "expected an autoencoder in diffusers' layout: " + DcAeConfig.FILE + " and " + WEIGHTS);
      }
    }
    return new DcAeFolder(found, DcAeConfig.read(found.resolve(DcAeConfig.FILE)));
  }

  /**
   * Makes a folder: the weights by {@code content}, then the config, so that a folder with a config
   * is whole.
   */
  public static DcAeFolder write(Path folder, DcAeConfig config, AtomicFile.Content weights)
      throws IOException {
    Files.createDirectories(folder);
    Files.deleteIfExists(folder.resolve(DcAeConfig.FILE));
    AtomicFile.write(folder.resolve(WEIGHTS), weights);
    AtomicFile.writeString(
        folder.resolve(DcAeConfig.FILE), config.toNode().toPrettyString() + "\n");
    return new DcAeFolder(folder, config);
  }

  /** The weights file. */
  public Path weights() {
    return folder.resolve(WEIGHTS);
  }

  /**
   * Opens the weights and checks that they are exactly the config's.
   *
   * @return the tensors, which the caller closes
   * @throws IllegalArgumentException naming every tensor that does not fit
   * @throws IOException if the file is malformed or cannot be read
   */
  public TensorSource openWeights() throws IOException {
    TensorSource source = SafetensorsFile.open(weights());
    try {
      DcAeTensors.require(config, source.specs(), source.where());
      return source;
    } catch (RuntimeException e) {
      source.close();
      throw e;
    }
  }

  /** What it is, with the hash of its weights, which reads the whole file. */
  public DcAeSpec spec() throws IOException {
    return new DcAeSpec(config, Optional.of(Sha256.of(weights())));
  }
}
