package io.nit.exporter.cli;

import io.nit.core.bundle.AutoencoderBundle;
import io.nit.core.bundle.Bundle;
import io.nit.core.cli.StopSignal;
import io.nit.core.io.FolderLock;
import io.nit.core.safetensors.TensorSource;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.onnx.OnnxGraph;
import java.io.IOException;
import java.nio.file.FileSystemException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import java.util.function.LongConsumer;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The folder that a bundle, or an autoencoder by itself, goes to. Files are made in a temporary
 * folder beside it; {@link #complete} moves them in and writes the manifest last, so that a folder
 * with a manifest is a whole bundle. A bundle that is replaced stays as it was until then. Only
 * files that the old manifest lists are removed, never others that lie there.
 */
final class BundleFolder implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(BundleFolder.class);

  /** What a folder holds. */
  enum Kind {
    /** A model's bundle, with its autoencoder or without. */
    MODEL(Bundle.MANIFEST, "a bundle", modelFiles()) {
      @Override
      List<Bundle.FileEntry> listed(Path folder) throws IOException {
        return Bundle.open(folder).files();
      }
    },
    /** An autoencoder by itself. */
    AUTOENCODER(AutoencoderBundle.MANIFEST, "an exported autoencoder", AutoencoderExport.FILES) {
      @Override
      List<Bundle.FileEntry> listed(Path folder) throws IOException {
        return AutoencoderBundle.open(folder).files();
      }
    };

    private final String manifest;
    private final String noun;
    private final List<String> files;

    Kind(String manifest, String noun, List<String> files) {
      this.manifest = manifest;
      this.noun = noun;
      this.files = files;
    }

    /** The files that the manifest of a folder lists. */
    abstract List<Bundle.FileEntry> listed(Path folder) throws IOException;

    private static List<String> modelFiles() {
      List<String> files =
          new ArrayList<>(List.of(BundleExport.MODEL_FILE, BundleExport.MODEL_FILE + ".data"));
      files.addAll(AutoencoderExport.FILES);
      return List.copyOf(files);
    }
  }

  /** Writes a manifest beside files that are in place. */
  interface Manifest {
    void write() throws IOException;
  }

  private final Kind kind;
  private final StopSignal stop;
  private final Path target;
  private final Path staging;
  private final FolderLock lock;

  /**
   * Makes the temporary folder.
   *
   * @throws IllegalArgumentException if {@code target} is a file, holds one of the kind and {@code
   *     overwrite} is false, or holds other things
   */
  BundleFolder(Path target, boolean overwrite, Kind kind, StopSignal stop) throws IOException {
    this.target = target.toAbsolutePath().normalize();
    this.kind = kind;
    this.stop = stop;
    if (Files.exists(this.target)) {
      requireReplaceable(overwrite);
    }
    Files.createDirectories(this.target.getParent());
    String prefix = "." + this.target.getFileName() + ".tmp-";
    removeAbandoned(this.target.getParent(), prefix);
    staging = Files.createTempDirectory(this.target.getParent(), prefix);
    lock =
        FolderLock.tryAcquire(staging)
            .orElseThrow(() -> new IOException(staging + ": expected it to be ours alone"));
  }

  /** Removes temporary folders of exports that were killed: those that no one holds locked. */
  private static void removeAbandoned(Path parent, String prefix) throws IOException {
    List<Path> found;
    try (Stream<Path> files = Files.list(parent)) {
      found =
          files
              .filter(file -> file.getFileName().toString().startsWith(prefix))
              .filter(file -> Files.exists(file.resolve(FolderLock.FILE)))
              .toList();
    }
    for (Path folder : found) {
      Optional<FolderLock> abandoned = FolderLock.tryAcquire(folder);
      if (abandoned.isPresent()) {
        LOG.info("removing {}, which an export that was killed left", folder);
        delete(folder, abandoned.get());
      }
    }
  }

  private static void delete(Path folder, FolderLock lock) throws IOException {
    lock.close();
    try (Stream<Path> files = Files.list(folder)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(folder);
  }

  private void requireReplaceable(boolean overwrite) throws IOException {
    if (!Files.isDirectory(target)) {
      throw new IllegalArgumentException(
          "--output " + target + ": expected a folder or nothing there, found a file");
    }
    if (Files.exists(target.resolve(kind.manifest))) {
      if (!overwrite) {
        throw new IllegalArgumentException(
            "--output " + target + ": found " + kind.noun + " there; --overwrite replaces it");
      }
      return;
    }
    List<String> names;
    try (Stream<Path> files = Files.list(target)) {
      names = files.map(file -> file.getFileName().toString()).toList();
    }
    // Model files alone are what a kill leaves between the two steps of complete.
    if (!names.isEmpty() && !(overwrite && kind.files.containsAll(names))) {
      throw new IllegalArgumentException(
          "--output " + target + ": expected a new or empty folder, found other files in it");
    }
  }

  /** Where to make the files. */
  Path staging() {
    return staging;
  }

  /** Where the bundle will be. */
  Path target() {
    return target;
  }

  /**
   * Writes a graph with its weights to the staging folder.
   *
   * @throws IOException naming the file in its place, if it cannot be written
   */
  OnnxFile write(
      OnnxGraph graph,
      TensorSource checkpoint,
      String name,
      long externalDataAbove,
      LongConsumer progress)
      throws IOException {
    try {
      return OnnxFile.write(graph, checkpoint, staging.resolve(name), externalDataAbove, progress);
    } catch (FileSystemException e) {
      throw e;
    } catch (IOException e) {
      // A full disk has no name of its own in Java's message.
      throw new IOException("cannot write " + target.resolve(name) + ": " + e.getMessage(), e);
    }
  }

  /** Sizes and hashes of files in the staging folder. */
  List<Bundle.FileEntry> describe(List<Path> files) throws IOException {
    List<Bundle.FileEntry> entries = new ArrayList<>();
    for (Path file : files) {
      WeightProgress.requireGoOn(stop);
      entries.add(Bundle.describe(file));
    }
    return entries;
  }

  /**
   * Moves the files in place and writes the manifest.
   *
   * @throws CancellationException if the stop was asked for before
   */
  void complete(List<Bundle.FileEntry> files, Manifest manifest) throws IOException {
    WeightProgress.requireGoOn(stop);
    Files.createDirectories(target);
    for (String old : listed()) {
      Files.deleteIfExists(target.resolve(old));
    }
    for (Bundle.FileEntry file : files) {
      Files.move(
          staging.resolve(file.name()),
          target.resolve(file.name()),
          StandardCopyOption.ATOMIC_MOVE);
    }
    manifest.write();
  }

  /** The files of the bundle that is there, its manifest first. */
  private List<String> listed() throws IOException {
    List<String> names = new ArrayList<>(List.of(kind.manifest));
    try {
      kind.listed(target).forEach(file -> names.add(file.name()));
    } catch (IOException | IllegalArgumentException e) {
      // No bundle, or one too broken to say what it holds: what is not known is not removed.
      names.addAll(kind.files);
    }
    return names;
  }

  /** Removes the temporary folder with what is still in it. */
  @Override
  public void close() throws IOException {
    delete(staging, lock);
  }
}
