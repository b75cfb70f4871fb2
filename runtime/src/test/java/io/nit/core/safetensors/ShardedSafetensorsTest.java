package io.nit.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.tensor.HostTensor;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Set;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class ShardedSafetensorsTest {
  private static final String INDEX = "model.safetensors.index.json";

  @TempDir Path folder;

  @BeforeEach
  void writeTwoShards() throws IOException {
    new SafetensorsWriter()
        .metadata("step", "7")
        .add(HostTensor.of("a", new float[] {1}, 1))
        .write(folder.resolve("one.safetensors"));
    new SafetensorsWriter()
        .add(HostTensor.of("b", new float[] {2, 3}, 2))
        .add(HostTensor.of("c", new long[] {4}, 1))
        .write(folder.resolve("two.safetensors"));
  }

  @Test
  void tensorsAreFoundInTheirShards() throws IOException {
    index("{\"a\": \"one.safetensors\", \"b\": \"two.safetensors\", \"c\": \"two.safetensors\"}");
    for (Path path : new Path[] {folder, folder.resolve(INDEX)}) {
      try (TensorSource source = TensorSource.open(path)) {
        assertEquals(Set.of("a", "b", "c"), source.specs().keySet());
        assertArrayEquals(new float[] {1}, source.tensor("a").toFloats());
        assertArrayEquals(new float[] {2, 3}, source.tensor("b").toFloats());
        assertArrayEquals(new long[] {4}, source.tensor("c").toLongs());
        assertEquals("7", source.metadata().get("step"));
        assertThrows(IllegalArgumentException.class, () -> source.tensor("d"));
      }
    }
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "{\"a\": \"../one.safetensors\"} | expected a .safetensors file beside the index",
        "{\"a\": \"/etc/one.safetensors\"} | expected a .safetensors file beside the index",
        "{\"a\": \"sub\\\\one.safetensors\"} | expected a .safetensors file beside the index",
        "{\"a\": \"one.bin\"} | expected a .safetensors file beside the index",
        "{\"a\": 5} | expected a .safetensors file beside the index",
        "{\"a\": \"three.safetensors\"} | shard not found",
        "{\"b\": \"one.safetensors\"} | b: expected in one.safetensors, found no such tensor",
        "{\"a\": \"one.safetensors\", \"a\": \"two.safetensors\"} | twice",
        "{} | expected a weight_map with tensors",
        "5 | expected a weight_map with tensors",
        "{ | expected a JSON index",
      })
  void hostileIndexesAreRefused(String weightMap, String message) throws IOException {
    index(weightMap);
    String found =
        assertThrows(SafetensorsException.class, () -> TensorSource.open(folder.resolve(INDEX)))
            .getMessage();
    assertTrue(found.contains(INDEX) && found.contains(message), found);
  }

  @Test
  void aMalformedShardIsNamed() throws IOException {
    index("{\"a\": \"one.safetensors\"}");
    Files.write(folder.resolve("one.safetensors"), new byte[4]);
    String found =
        assertThrows(SafetensorsException.class, () -> TensorSource.open(folder)).getMessage();
    assertTrue(found.contains("one.safetensors: expected an 8-byte header length"), found);
  }

  @Test
  void aFolderMustHoldExactlyOneCheckpoint() throws IOException {
    String found =
        assertThrows(SafetensorsException.class, () -> TensorSource.open(folder)).getMessage();
    assertTrue(found.contains("or index, found 2: one.safetensors, two.safetensors; name"), found);
    Files.delete(folder.resolve("one.safetensors"));
    try (TensorSource source = TensorSource.open(folder)) {
      assertTrue(source.has("b"));
    }
  }

  @Test
  void useAfterCloseThrows() throws IOException {
    index("{\"a\": \"one.safetensors\"}");
    TensorSource source = TensorSource.open(folder);
    source.close();
    source.close();
    assertThrows(IllegalStateException.class, () -> source.tensor("a"));
  }

  @Test
  void aMissingIndexIsNamed() {
    assertThrows(NoSuchFileException.class, () -> TensorSource.open(folder.resolve(INDEX)));
  }

  private void index(String weightMap) throws IOException {
    Files.writeString(
        folder.resolve(INDEX), "{\"metadata\": {}, \"weight_map\": " + weightMap + "}");
  }
}
