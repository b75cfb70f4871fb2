package io.nit.core.io;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.safetensors.ShardedSafetensors;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;

class TextFileTest {
  @TempDir Path folder;

  /** A file of zeros that takes no room on the disk. */
  private Path large(String name, long bytes) throws IOException {
    Path file = folder.resolve(name);
    try (RandomAccessFile opened = new RandomAccessFile(file.toFile(), "rw")) {
      opened.setLength(bytes);
    }
    return file;
  }

  private static void refused(String expected, Executable reading) {
    assertEquals(expected, assertThrows(IOException.class, reading).getMessage());
  }

  @Test
  void textIsReadAndOtherBytesAreRefused() throws IOException {
    Path file = Files.writeString(folder.resolve("text"), "ä\n");
    assertEquals("ä\n", TextFile.read(file));
    Files.write(file, new byte[] {'a', (byte) 0xff});
    refused(file + ": expected UTF-8 text, found other bytes", () -> TextFile.read(file));
    refused(folder + ": expected a file, found a folder", () -> TextFile.read(folder));
    assertThrows(NoSuchFileException.class, () -> TextFile.read(folder.resolve("none")));
  }

  @Test
  void aFileTooLargeIsRefusedBeforeItIsRead() throws IOException {
    Path file = large("large", 1L << 40);
    String found = ": expected at most 16777216 bytes of text, found 1099511627776";
    refused(file + found, () -> TextFile.read(file));
    refused(file + found, () -> NitConfig.read(file, PositionOrder.AXIAL));
    Path manifest = large(Bundle.MANIFEST, 1L << 40);
    refused(manifest + found, () -> Bundle.open(folder));
    Path index = large("model.safetensors.index.json", 1L << 40);
    refused(index + found, () -> ShardedSafetensors.open(index).close());
    Path most = large("most", TextFile.MOST_BYTES);
    assertEquals(TextFile.MOST_BYTES, TextFile.read(most).length());
  }

  @Test
  void whatHasNoSizeIsReadAsFarAsItMayBeLong() {
    Path zeros = Path.of("/dev/zero");
    if (Files.exists(zeros)) {
      String message = assertThrows(IOException.class, () -> TextFile.read(zeros)).getMessage();
      assertTrue(message.endsWith("expected at most 16777216 bytes of text, found more"), message);
    }
  }
}
