package io.nit.trainer.data;

import java.io.File;
import java.io.IOException;
import java.nio.file.FileVisitResult;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.NotDirectoryException;
import java.nio.file.Path;
import java.nio.file.SimpleFileVisitor;
import java.nio.file.attribute.BasicFileAttributes;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.List;
import java.util.stream.Stream;

/**
 * Pictures in class folders: {@code DIR/<class>/**}{@code /*.png}. Labels are the folders' names in
 * sorted order; pictures are sorted by their path. Hidden folders, folders without any picture and
 * files of other names are no part of it. Links are followed to files inside {@code DIR} only.
 *
 * @param root the folder
 * @param labels class names by label
 * @param entries the pictures, by label and path
 * @param refused links that lead out of the folder or to another folder
 */
record ImageFolder(Path root, List<String> labels, List<Entry> entries, List<Skipped> refused) {
  /**
   * One picture.
   *
   * @param imageFile path inside the root, with {@code /}
   * @param label index into {@link ImageFolder#labels}
   */
  record Entry(String imageFile, int label) {}

  /**
   * Lists a folder.
   *
   * @throws IllegalArgumentException if there is no class folder with a picture in it
   * @throws IOException if the folder does not exist or cannot be read
   */
  static ImageFolder scan(Path root) throws IOException {
    requireFolder(root);
    Path realRoot = root.toRealPath();
    List<Skipped> refused = new ArrayList<>();
    List<Path> folders = new ArrayList<>();
    int loosePictures = 0;
    try (Stream<Path> children = Files.list(root)) {
      for (Path child : children.sorted(byName()).toList()) {
        if (child.getFileName().toString().startsWith(".")) {
          continue;
        }
        if (Files.isSymbolicLink(child) && Files.isDirectory(child)) {
          refused.add(new Skipped(name(root, child), "a link to a folder"));
        } else if (Files.isDirectory(child)) {
          folders.add(child);
        } else if (ImageFile.hasPictureName(child)) {
          loosePictures++;
        }
      }
    }
    List<String> labels = new ArrayList<>();
    List<Entry> entries = new ArrayList<>();
    for (Path folder : folders) {
      List<Path> pictures = pictures(root, realRoot, folder, refused);
      if (!pictures.isEmpty()) {
        for (Path picture : pictures) {
          entries.add(new Entry(name(root, picture), labels.size()));
        }
        labels.add(folder.getFileName().toString());
      }
    }
    if (entries.isEmpty()) {
      throw new IllegalArgumentException(
          root
              + ": expected class folders with pictures, as in "
              + root.resolve("cat").resolve("1.png")
              + ", found "
              + folders.size()
              + " folders without pictures and "
              + loosePictures
              + " pictures outside of any folder"
              + (refused.isEmpty() ? "" : "; " + refused.size() + " links were refused"));
    }
    return new ImageFolder(root, labels, entries, refused);
  }

  /**
   * Lists every picture below a folder, in class folders or not; hidden ones are passed over. There
   * are no labels.
   *
   * @throws IllegalArgumentException if there is none
   * @throws IOException if the folder does not exist or cannot be read
   */
  static ImageFolder scanAll(Path root) throws IOException {
    requireFolder(root);
    List<Skipped> refused = new ArrayList<>();
    List<Entry> entries = new ArrayList<>();
    for (Path picture : pictures(root, root.toRealPath(), root, refused)) {
      if (!picture.getFileName().toString().startsWith(".")) {
        entries.add(new Entry(name(root, picture), 0));
      }
    }
    if (entries.isEmpty()) {
      throw new IllegalArgumentException(
          root
              + ": expected a folder with pictures in it, found none"
              + (refused.isEmpty() ? "" : "; " + refused.size() + " links were refused"));
    }
    return new ImageFolder(root, List.of(), entries, refused);
  }

  private static void requireFolder(Path root) throws IOException {
    if (!Files.exists(root)) {
      throw new NoSuchFileException(root.toString());
    }
    if (!Files.isDirectory(root)) {
      throw new NotDirectoryException(root.toString());
    }
  }

  private static List<Path> pictures(Path root, Path realRoot, Path folder, List<Skipped> refused)
      throws IOException {
    List<Path> pictures = new ArrayList<>();
    Files.walkFileTree(
        folder,
        new SimpleFileVisitor<>() {
          @Override
          public FileVisitResult preVisitDirectory(Path dir, BasicFileAttributes attributes) {
            return !dir.equals(folder) && dir.getFileName().toString().startsWith(".")
                ? FileVisitResult.SKIP_SUBTREE
                : FileVisitResult.CONTINUE;
          }

          @Override
          public FileVisitResult visitFile(Path file, BasicFileAttributes attributes) {
            if (attributes.isSymbolicLink()) {
              String problem = linkProblem(realRoot, file);
              if (problem != null) {
                refused.add(new Skipped(name(root, file), problem));
                return FileVisitResult.CONTINUE;
              }
            }
            if (ImageFile.hasPictureName(file) && Files.isRegularFile(file)) {
              pictures.add(file);
            }
            return FileVisitResult.CONTINUE;
          }
        });
    pictures.sort(Comparator.comparing(picture -> name(root, picture)));
    return pictures;
  }

  private static String linkProblem(Path realRoot, Path link) {
    try {
      if (!link.toRealPath().startsWith(realRoot)) {
        return "a link that leads out of the data folder";
      }
      return Files.isDirectory(link) ? "a link to a folder" : null;
    } catch (IOException e) {
      return "a link to nowhere";
    }
  }

  /** The file of a picture. */
  Path file(Entry entry) {
    return root.resolve(entry.imageFile);
  }

  private static Comparator<Path> byName() {
    return Comparator.comparing(path -> path.getFileName().toString());
  }

  private static String name(Path root, Path file) {
    return root.relativize(file).toString().replace(File.separatorChar, '/');
  }

  /** {@link #refused} and more, sorted by path. */
  List<Skipped> withRefused(List<Skipped> more) {
    List<Skipped> all = new ArrayList<>(refused);
    all.addAll(more);
    all.sort(Comparator.comparing(Skipped::imageFile));
    return Collections.unmodifiableList(all);
  }
}
