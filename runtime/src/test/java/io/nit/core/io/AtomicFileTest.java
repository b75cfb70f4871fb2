package io.nit.core.io;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class AtomicFileTest {
  @TempDir Path folder;

  @Test
  void filesAreWrittenAndReplacedAndTheirFoldersMade() throws IOException {
    Path target = folder.resolve("a/b/file.txt");
    AtomicFile.writeString(target, "é 1");
    AtomicFile.writeString(target, "é 2");
    assertEquals("é 2", Files.readString(target));
    AtomicFile.writeBytes(target, new byte[] {1, -1});
    assertArrayEquals(new byte[] {1, -1}, Files.readAllBytes(target));
    assertOnly(target);
  }

  @Test
  void theTargetShowsNothingUntilAllIsWritten() throws IOException {
    Path target = folder.resolve("file.txt");
    AtomicFile.write(
        target,
        temporary -> {
          assertEquals(target.getParent(), temporary.getParent(), "renamed inside one file system");
          assertFalse(Files.exists(temporary));
          Files.writeString(temporary, "half");
          assertFalse(Files.exists(target));
        });
    assertEquals("half", Files.readString(target));
  }

  @Test
  void aWriteThatIsAbandonedLeavesTheOldFile() throws IOException {
    Path target = folder.resolve("file.txt");
    AtomicFile.writeString(target, "old");
    assertThrows(
        IOException.class,
        () ->
            AtomicFile.write(
                target,
                temporary -> {
                  Files.writeString(temporary, "half");
                  AtomicFile.abandonAll();
                  assertOnly(target);
                }));
    assertEquals("old", Files.readString(target));
    assertOnly(target);
  }

  @Test
  void aFolderInTheWayIsNamedAndNotTheTemporaryFile() throws IOException {
    Path target = Files.createDirectories(folder.resolve("folder"));
    Files.createFile(target.resolve("kept"));
    String message =
        assertThrows(IOException.class, () -> AtomicFile.writeString(target, "new")).getMessage();
    assertTrue(message.startsWith(target + ": "), message);
    assertFalse(message.contains(".tmp-"), message);
    assertTrue(Files.exists(target.resolve("kept")));
  }

  @Test
  void aFullDiskLeavesTheOldFileAndNamesTheTarget() throws IOException {
    Path target = folder.resolve("file.txt");
    AtomicFile.writeString(target, "old");
    String message =
        assertThrows(
                IOException.class,
                () ->
                    AtomicFile.write(
                        target,
                        temporary -> {
                          Files.writeString(temporary, "ne");
                          throw new IOException("No space left on device");
                        }))
            .getMessage();
    assertEquals("cannot write " + target + ": No space left on device", message);
    assertEquals("old", Files.readString(target));
    assertOnly(target);
  }

  @Test
  void anyFailureRemovesTheTemporaryFile() throws IOException {
    Path target = folder.resolve("file.txt");
    assertThrows(
        IllegalStateException.class,
        () ->
            AtomicFile.write(
                target,
                temporary -> {
                  Files.writeString(temporary, "x");
                  throw new IllegalStateException();
                }));
    assertFalse(Files.exists(target));
    assertOnly();
  }

  @Test
  void aFolderOfThatNameIsKept() throws IOException {
    Path target = Files.createDirectories(folder.resolve("taken"));
    assertThrows(IOException.class, () -> AtomicFile.writeString(target, "x"));
    assertTrue(Files.isDirectory(target));
    assertOnly(target);
  }

  private void assertOnly(Path... expected) throws IOException {
    Path parent = expected.length == 0 ? folder : expected[0].getParent();
    try (Stream<Path> files = Files.list(parent)) {
      assertEquals(List.of(expected), files.toList());
    }
  }
}
