package io.nit.core.io;

import static org.junit.jupiter.api.Assertions.assertEquals;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class Sha256Test {
  @Test
  void textsAndFilesHaveTheirPublishedHash(@TempDir Path folder) throws IOException {
    String abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"; // FIPS 180-2
    assertEquals(abc, Sha256.of("abc"));
    Path file = Files.writeString(folder.resolve("abc"), "abc");
    assertEquals(abc, Sha256.of(file));
  }
}
