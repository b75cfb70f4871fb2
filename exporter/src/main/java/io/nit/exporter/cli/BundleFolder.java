package io.nit.exporter.cli;

import io.nit.core.bundle.Bundle;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.util.ArrayList;
import java.util.List;
import java.util.stream.Stream;

/**
 * The folder that a bundle goes to. Files are made in a temporary folder beside it; {@link
 * #complete} moves them in and writes the manifest last, so that a folder with a manifest is a
 * whole bundle. A bundle that is replaced stays as it was until then. Only files that the old
 * manifest lists are removed, never others that lie there.
 */
final class BundleFolder implements AutoCloseable {
  private static final List<String> MODEL_FILES =
      List.of(BundleExport.MODEL_FILE, BundleExport.MODEL_FILE + ".data");

  private final Path target;
  private final Path staging;

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
    staging =
        Files.createTempDirectory(
            this.target.getParent(), "." + this.target.getFileName() + ".tmp-");
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
    try (Stream<Path> files = Files.list(staging)) {
      for (Path file : files.toList()) {
        Files.delete(file);
      }
    }
    Files.delete(staging);
  }
}
