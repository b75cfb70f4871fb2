package io.nit.core.packing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SamplerMetaTest {
  @TempDir Path folder;
  private Path file;

  @BeforeEach
  void name() {
    file = folder.resolve("meta.json");
  }

  @Test
  void packsRoundTripInTheAuthorsFormat() throws IOException {
    SamplerMeta.write(file, List.of(new int[] {0, 17, 4}, new int[] {5, 2}));
    assertEquals("[[0,17,4],[5,2]]", Files.readString(file).strip());
    List<int[]> packs = SamplerMeta.read(file, 18);
    assertEquals(2, packs.size());
    assertArrayEquals(new int[] {0, 17, 4}, packs.get(0));
    assertArrayEquals(new int[] {5, 2}, packs.get(1));
  }

  @Test
  void aListWithoutPacksIsRead() throws IOException {
    Files.writeString(file, "[]");
    assertTrue(SamplerMeta.read(file, 3).isEmpty());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "nonsense | expected a JSON list of lists",
        "`` | expected a JSON list of lists",
        "null | expected a JSON list of lists",
        "{\"a\": 1} | expected a JSON list of lists",
        "[1, 2] | expected a JSON list of lists",
        "[[0], [1] | expected a JSON list of lists",
        "[[0]] [[1]] | expected a JSON list of lists",
        "[[0.5]] | expected a JSON list of lists",
        "[[\"1\"]] | expected a JSON list of lists",
        "[[true]] | expected a JSON list of lists",
        "[[null]] | expected a JSON list of lists",
        "[[4294967296]] | expected a JSON list of lists",
        "[[0], null] | pack 1: expected row indices, found none",
        "[[0], []] | pack 1: expected row indices, found none",
        "[[0, 5]] | pack 0: expected rows 0..4, found 5",
        "[[0], [-1]] | pack 1: expected rows 0..4, found -1",
        "[[0, 3], [1, 3]] | pack 1: row 3 was used before",
        "[[3, 3]] | pack 0: row 3 was used before",
      })
  void badFilesAreRefusedByPack(String json, String message) throws IOException {
    Files.writeString(file, json);
    String found =
        assertThrows(IllegalArgumentException.class, () -> SamplerMeta.read(file, 5)).getMessage();
    assertTrue(found.startsWith(file.toString()) && found.contains(message), found);
  }

  @Test
  void aMissingFileIsNamed() {
    IOException e = assertThrows(NoSuchFileException.class, () -> SamplerMeta.read(file, 5));
    assertTrue(e.getMessage().contains("meta.json"));
  }
}
