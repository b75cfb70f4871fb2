package io.nit.core.packing;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.MapperFeature;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.JsonReason;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.BitSet;
import java.util.List;

/**
 * The authors' sampler meta: a JSON list of packs, each a list of row indices of the data meta
 * file.
 *
 * <pre>[[0, 17, 4], [5, 2], …]</pre>
 */
public final class SamplerMeta {
  private static final ObjectMapper JSON =
      JsonMapper.builder()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_NULL_FOR_PRIMITIVES)
          .disable(DeserializationFeature.ACCEPT_FLOAT_AS_INT)
          .disable(MapperFeature.ALLOW_COERCION_OF_SCALARS)
          .build();

  private SamplerMeta() {}

  /**
   * Reads packs.
   *
   * @param rows number of rows of the data meta file that the indices point into
   * @throws IOException if the file cannot be read
   * @throws IllegalArgumentException if it is not a list of lists of indices, a pack is empty, an
   *     index lies outside {@code 0..rows-1}, or a row is used twice; names the pack
   */
  public static List<int[]> read(Path file, int rows) throws IOException {
    int[][] packs;
    try (InputStream in = Files.newInputStream(file)) {
      packs = JSON.readValue(in, int[][].class);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          file + ": expected a JSON list of lists of row indices, found: " + JsonReason.of(e), e);
    }
    if (packs == null) {
      throw new IllegalArgumentException(
          file + ": expected a JSON list of lists of row indices, found null");
    }
    BitSet seen = new BitSet(rows);
    for (int p = 0; p < packs.length; p++) {
      if (packs[p] == null || packs[p].length == 0) {
        throw new IllegalArgumentException(
            file + ": pack " + p + ": expected row indices, found none");
      }
      for (int row : packs[p]) {
        if (row < 0 || row >= rows) {
          throw new IllegalArgumentException(
              file + ": pack " + p + ": expected rows 0.." + (rows - 1) + ", found " + row);
        }
        if (seen.get(row)) {
          throw new IllegalArgumentException(
              file + ": pack " + p + ": row " + row + " was used before");
        }
        seen.set(row);
      }
    }
    return List.of(packs);
  }

  /** Writes packs, atomically. */
  public static void write(Path file, List<int[]> packs) throws IOException {
    AtomicFile.write(
        file,
        temporary -> {
          try (BufferedWriter out = Files.newBufferedWriter(temporary)) {
            JSON.writeValue(out, packs);
          }
        });
  }
}
