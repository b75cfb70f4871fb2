package io.nit.runtime.cli;

import static java.nio.charset.StandardCharsets.UTF_8;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.FileTree;
import io.nit.runtime.ImageRequest;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A folder of sampled pictures: {@code ID.png}, each with what made it in its text chunks {@code
 * nit.request} (the request as JSON) and {@code nit.model} (a hash of the model), and {@code
 * report.jsonl} with a row a picture. While sampling, rows are appended; at the end the report is
 * written anew, a row an id. Safe for several threads.
 */
final class PictureFolder {
  /** Keyword of the request in a PNG. */
  static final String REQUEST = "nit.request";

  /** Keyword of the model's hash in a PNG. */
  static final String MODEL = "nit.model";

  private static final Logger LOG = LoggerFactory.getLogger(PictureFolder.class);
  private static final ObjectMapper JSON = new ObjectMapper();

  private final Path folder;
  private final String model;
  private final Path report;
  private final Map<String, ObjectNode> rows = new LinkedHashMap<>();

  private PictureFolder(Path folder, String model) {
    this.folder = folder;
    this.model = model;
    this.report = folder.resolve("report.jsonl");
  }

  /**
   * Reads the report of a folder, which is made with its first picture if it is not there; rows
   * that a kill cut short are dropped.
   *
   * @param model hash of the model whose pictures count as done
   */
  static PictureFolder open(Path folder, String model) throws IOException {
    FileTree.requireFolderOrNothing("--output", folder);
    PictureFolder opened = new PictureFolder(folder, model);
    if (Files.exists(opened.report)) {
      // As a text with marks for what is none: a kill may cut a letter of several bytes.
      new String(Files.readAllBytes(opened.report), UTF_8).lines().forEach(opened::keep);
      opened.writeReport();
    }
    return opened;
  }

  private void keep(String line) {
    try {
      JsonNode row = JSON.readTree(line);
      if (row instanceof ObjectNode object && object.path("id").isTextual()) {
        rows.put(object.get("id").textValue(), object);
        return;
      }
    } catch (JsonProcessingException e) {
      LOG.debug("unreadable row", e);
    }
    LOG.warn("{}: dropped a row that was cut short", report);
  }

  /** The picture's file. */
  Path file(ImageRequest request) {
    return folder.resolve(request.id().orElseThrow() + ".png");
  }

  /** Whether the picture of exactly this request and model is there. */
  boolean has(ImageRequest request) {
    Path file = file(request);
    if (!Files.isRegularFile(file)) {
      return false;
    }
    try {
      Map<String, String> text = Png.readText(file);
      return request.toJson().equals(text.get(REQUEST)) && model.equals(text.get(MODEL));
    } catch (IOException | RuntimeException e) {
      LOG.warn("{} is no readable PNG and is made again: {}", file, e.toString());
      return false;
    }
  }

  /** Writes a picture, then its row. */
  void add(ImageRequest request, RgbImage image, ObjectNode row) throws IOException {
    Map<String, String> text = new LinkedHashMap<>(); // in one order: the same bytes every time
    text.put(REQUEST, request.toJson());
    text.put(MODEL, model);
    Png.write(file(request), image, text);
    addRow(row);
  }

  /** Appends a row; it takes the place of an earlier one of the same id. */
  synchronized void addRow(ObjectNode row) throws IOException {
    rows.put(row.get("id").textValue(), row);
    Files.createDirectories(folder);
    Files.writeString(report, row + "\n", StandardOpenOption.CREATE, StandardOpenOption.APPEND);
  }

  /** A row's beginning: what every row has. */
  ObjectNode row(ImageRequest request) throws IOException {
    ObjectNode row = JSON.createObjectNode();
    row.put("id", request.id().orElseThrow());
    row.put("file", file(request).getFileName().toString());
    row.set("request", JSON.readTree(request.toJson()));
    return row.put("steps", request.steps()).put("model", model);
  }

  /** Adds rows for pictures that are there but have none, as after a kill between the two. */
  void complete(List<ImageRequest> present) throws IOException {
    for (ImageRequest request : present) {
      JsonNode row = rows.get(request.id().orElseThrow());
      if (row == null || !row.path("request").toString().equals(request.toJson())) {
        addRow(row(request));
      }
    }
  }

  /** Writes the report anew, atomically, one row an id. */
  synchronized void writeReport() throws IOException {
    StringBuilder text = new StringBuilder();
    rows.values().forEach(row -> text.append(row).append('\n'));
    AtomicFile.writeString(report, text.toString());
  }
}
