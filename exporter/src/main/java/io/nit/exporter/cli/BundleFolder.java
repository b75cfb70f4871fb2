package io.nit.exporter.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.io.FolderLock;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The folder that a bundle goes to. Files are made in a temporary folder beside it; {@link
 * #complete} moves them in and writes the manifest last, so that a folder with a manifest is a
 * whole bundle. A bundle that is replaced stays as it was until then. Only files that the old
 * manifest lists are removed, never others that lie there.
 */
final class BundleFolder implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(BundleFolder.class);
  private static final List<String> MODEL_FILES =
      List.of(BundleExport.MODEL_FILE, BundleExport.MODEL_FILE + ".data");

  private final Path target;
  private final Path staging;
  private final FolderLock lock;

  /**
   * Makes the temporary folder.
   *
   * @throws IllegalArgumentException if {@code target} is a file, holds a bundle and {@code
   *     overwrite} is false, or holds other things
   */
  BundleFolder(Path target, boolean overwrite) throws IOException {
    this.target = target.toAbsolutePath().normalize();
    if (Files.exists(this.target)) {
      requireReplaceable(this.target, overwrite);
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

  private static void requireReplaceable(Path target, boolean overwrite) throws IOException {
    if (!Files.isDirectory(target)) {
      throw new IllegalArgumentException(
          "--output " + target + ": expected a folder or nothing there, found a file");
    }
    if (Files.exists(target.resolve(Bundle.MANIFEST))) {
      if (!overwrite) {
        throw new IllegalArgumentException(
            "--output " + target + ": found a bundle there; --overwrite replaces it");
      }
      return;
    }
    List<String> names;
    try (Stream<Path> files = Files.list(target)) {
      names = files.map(file -> file.getFileName().toString()).toList();
    }
    // Model files alone are what a kill leaves between the two steps of complete.
    if (!names.isEmpty() && !(overwrite && MODEL_FILES.containsAll(names))) {
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

  /** Moves the bundle's files in place and writes its manifest. */
  void complete(Bundle bundle) throws IOException {
    Files.createDirectories(target);
    for (String old : listed()) {
      Files.deleteIfExists(target.resolve(old));
    }
    for (Bundle.FileEntry file : bundle.files()) {
      Files.move(
          staging.resolve(file.name()),
          target.resolve(file.name()),
          StandardCopyOption.ATOMIC_MOVE);
    }
    bundle.write();
  }

  /** The files of the bundle that is there, its manifest first. */
  private List<String> listed() throws IOException {
    List<String> names = new ArrayList<>(List.of(Bundle.MANIFEST));
    try {
      Bundle.open(target).files().forEach(file -> names.add(file.name()));
    } catch (IOException | IllegalArgumentException e) {
      // No bundle, or one too broken to say what it holds: what is not known is not removed.
      names.addAll(MODEL_FILES);
    }
    return names;
  }

  /** Removes the temporary folder with what is still in it. */
  @Override
  public void close() throws IOException {
    delete(staging, lock);
  }
}
