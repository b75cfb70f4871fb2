package io.nit.trainer.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.JsonReason;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.nio.charset.CharacterCodingException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;

/**
 * The authors' data meta file: one JSON object a row, a row a latent file.
 *
 * <pre>{"image_file": "cat/1.jpg", "latent_file": "cat/1.safetensors", "ori_w": 580, "ori_h": 403,
 * "latent_h": 12, "latent_w": 18, "image_h": 384, "image_w": 576, "type": "native-resolution"}
 * </pre>
 *
 * <p>{@code image_file} is a path inside the picture folder, {@code latent_file} one inside the
 * folder of latents of its type.
 */
public final class DataMeta {
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final int MAX_SIDE = 1 << 16;

  private DataMeta() {}

  /**
   * One row.
   *
   * @param imageFile path inside the picture folder
   * @param latentFile path inside the folder of latents of the type
   * @param oriWidth pixels of the picture's file
   * @param oriHeight pixels of the picture's file
   * @param latentHeight latent pixels
   * @param latentWidth latent pixels
   * @param imageHeight pixels after resizing
   * @param imageWidth pixels after resizing
   * @param type how it was brought to its size
   */
  public record Row(
      String imageFile,
      String latentFile,
      int oriWidth,
      int oriHeight,
      int latentHeight,
      int latentWidth,
      int imageHeight,
      int imageWidth,
      DataType type) {

    ObjectNode toNode() {
      return JsonNodeFactory.instance
          .objectNode()
          .put("image_file", imageFile)
          .put("latent_file", latentFile)
          .put("ori_w", oriWidth)
          .put("ori_h", oriHeight)
          .put("latent_h", latentHeight)
          .put("latent_w", latentWidth)
          .put("image_h", imageHeight)
          .put("image_w", imageWidth)
          .put("type", type.key());
    }

    static Row of(JsonNode node, String where) {
      if (!node.isObject()) {
        throw new IllegalArgumentException(where + ": expected a JSON object, found " + node);
      }
      try {
        return new Row(
            text(node, "image_file", where),
            text(node, "latent_file", where),
            integer(node, "ori_w", Integer.MAX_VALUE, where),
            integer(node, "ori_h", Integer.MAX_VALUE, where),
            integer(node, "latent_h", MAX_SIDE, where),
            integer(node, "latent_w", MAX_SIDE, where),
            integer(node, "image_h", Integer.MAX_VALUE, where),
            integer(node, "image_w", Integer.MAX_VALUE, where),
            DataType.parse(text(node, "type", where)));
      } catch (IllegalArgumentException e) {
        throw e.getMessage().startsWith(where)
            ? e
            : new IllegalArgumentException(where + ": " + e.getMessage(), e);
      }
    }

    /** Tokens at a patch size; the last latent pixels that fill no patch are an error elsewhere. */
    int tokens(int patchSize) {
      return Math.multiplyExact(latentHeight / patchSize, latentWidth / patchSize);
    }

    private static String text(JsonNode node, String key, String where) {
      if (!node.path(key).isTextual()) {
        throw new IllegalArgumentException(
            where + ": " + key + ": expected a string, found " + found(node, key));
      }
      return node.get(key).textValue();
    }

    private static int integer(JsonNode node, String key, int max, String where) {
      JsonNode value = node.path(key);
      if (!value.isIntegralNumber()
          || !value.canConvertToInt()
          || value.intValue() < 1
          || value.intValue() > max) {
        throw new IllegalArgumentException(
            where + ": " + key + ": expected 1.." + max + ", found " + found(node, key));
      }
      return value.intValue();
    }

    private static String found(JsonNode node, String key) {
      return node.has(key) ? node.get(key).toString() : "nothing";
    }
  }

  /**
   * Reads all rows.
   *
   * @throws IOException if the file cannot be read
   * @throws IllegalArgumentException if a row is malformed or there is none; names file and line
   */
  public static List<Row> read(Path file) throws IOException {
    List<Row> rows = new ArrayList<>();
    try (BufferedReader in = Files.newBufferedReader(file)) {
      int number = 0;
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        number++;
        if (!line.isBlank()) {
          rows.add(Row.of(parse(line, file + ":" + number), file + ":" + number));
        }
      }
    } catch (CharacterCodingException e) {
      throw new IllegalArgumentException(file + ": expected UTF-8 text", e);
    }
    if (rows.isEmpty()) {
      throw new IllegalArgumentException(file + ": expected rows, found none");
    }
    return rows;
  }

  private static JsonNode parse(String line, String where) {
    try {
      return JSON.readTree(line);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          where + ": expected a JSON object, found: " + JsonReason.of(e), e);
    }
  }

  /** Writes rows, atomically. */
  public static void write(Path file, List<Row> rows) throws IOException {
    AtomicFile.write(
        file,
        temporary -> {
          try (BufferedWriter out = Files.newBufferedWriter(temporary)) {
            for (Row row : rows) {
              out.write(row.toNode().toString());
              out.write('\n');
            }
          }
        });
  }
}
