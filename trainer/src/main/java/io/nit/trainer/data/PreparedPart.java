package io.nit.trainer.data;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.AtomicFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.TreeMap;

/**
 * What one process of several has prepared: {@code parts/rank-R-of-W.jsonl}. The first row says how
 * many pictures all processes share; the others are {@code {"image": i, "row": {…}}} with a data
 * meta row, or {@code {"image": i, "skipped": {…}}}. Whichever process finds all parts there puts
 * them together.
 *
 * @param rows rows by picture, each picture's in the order of the types
 * @param skipped skipped pictures, by picture
 */
record PreparedPart(
    TreeMap<Integer, List<DataMeta.Row>> rows, TreeMap<Integer, List<Skipped>> skipped) {
  private static final ObjectMapper JSON = new ObjectMapper();

  PreparedPart() {
    this(new TreeMap<>(), new TreeMap<>());
  }

  /** Takes up what became of a picture. */
  synchronized void add(int image, List<DataMeta.Row> itsRows, List<Skipped> itsSkipped) {
    if (!itsRows.isEmpty()) {
      rows.put(image, itsRows);
    }
    if (!itsSkipped.isEmpty()) {
      skipped.put(image, itsSkipped);
    }
  }

  /** The rows type after type, each type's in the order of the pictures. */
  List<DataMeta.Row> ordered(List<DataType> types) {
    List<DataMeta.Row> ordered = new ArrayList<>();
    for (DataType type : types) {
      rows.values()
          .forEach(own -> own.stream().filter(row -> row.type() == type).forEach(ordered::add));
    }
    return ordered;
  }

  static Path file(Path output, int rank, int worldSize) {
    return output.resolve("parts").resolve("rank-" + rank + "-of-" + worldSize + ".jsonl");
  }

  void write(Path file, int images) throws IOException {
    StringBuilder text = new StringBuilder();
    text.append(JSON.createObjectNode().put("images", images)).append('\n');
    rows.forEach(
        (image, own) ->
            own.forEach(
                row -> {
                  ObjectNode node = JSON.createObjectNode().put("image", image);
                  node.set("row", row.toNode());
                  text.append(node).append('\n');
                }));
    skipped.forEach(
        (image, own) ->
            own.forEach(
                one -> {
                  ObjectNode node = JSON.createObjectNode().put("image", image);
                  node.putObject("skipped")
                      .put("image_file", one.imageFile())
                      .put("reason", one.reason());
                  text.append(node).append('\n');
                }));
    AtomicFile.writeString(file, text.toString());
  }

  /** All parts together; empty while one is missing or is of another set of pictures. */
  static Optional<PreparedPart> readAll(Path output, int worldSize, int images) throws IOException {
    PreparedPart all = new PreparedPart();
    for (int rank = 0; rank < worldSize; rank++) {
      Path file = file(output, rank, worldSize);
      if (!Files.exists(file)) {
        return Optional.empty();
      }
      List<String> lines = Files.readAllLines(file);
      if (lines.isEmpty() || JSON.readTree(lines.get(0)).path("images").asInt() != images) {
        return Optional.empty();
      }
      for (String line : lines.subList(1, lines.size())) {
        JsonNode node = JSON.readTree(line);
        int image = node.path("image").asInt();
        if (node.has("row")) {
          all.rows
              .computeIfAbsent(image, i -> new ArrayList<>())
              .add(DataMeta.Row.of(node.get("row"), file.toString()));
        } else {
          JsonNode one = node.path("skipped");
          all.skipped
              .computeIfAbsent(image, i -> new ArrayList<>())
              .add(new Skipped(one.path("image_file").asText(), one.path("reason").asText()));
        }
      }
    }
    return Optional.of(all);
  }
}
