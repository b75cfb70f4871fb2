package io.nit.trainer.checkpoint;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.JsonReason;
import io.nit.core.io.Sha256;
import io.nit.core.io.TextFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.TreeSet;

/**
 * Where a training stands; {@code state.json} of a checkpoint. All randomness comes from
 * counter-based streams, so the seed and the step are the whole generator state, and the place in
 * the data order is a count of packs.
 *
 * @param step steps taken
 * @param optimizerStep steps that changed the weights: fewer where steps were skipped
 * @param seed key of every random stream
 * @param position packs taken from the data order, or pictures where there are no packs
 * @param packs packs of an epoch, or pictures
 * @param config the network, as its {@code config.json} says it
 * @param options the options that change the numbers, as in {@code train.json}
 */
public record TrainingState(
    long step,
    long optimizerStep,
    long seed,
    long position,
    int packs,
    ObjectNode config,
    ObjectNode options) {
  private static final int VERSION = 1;
  private static final ObjectMapper JSON =
      new ObjectMapper().enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  /** Writes the file, atomically. */
  void write(Path file) throws IOException {
    ObjectNode node = JSON.createObjectNode();
    node.put("version", VERSION).put("step", step).put("optimizer_step", optimizerStep);
    node.putObject("generator").put("kind", "philox4x32-10").put("seed", seed).put("step", step);
    node.putObject("data").put("position", position).put("packs", packs);
    node.put("options_sha256", Sha256.of(options.toString()));
    node.set("options", options);
    node.set("config", config);
    AtomicFile.writeString(file, node.toPrettyString() + "\n");
  }

  /**
   * Reads the file.
   *
   * @throws IOException if it is missing or not what {@link #write} writes; names it
   */
  static TrainingState read(Path file) throws IOException {
    JsonNode node;
    try {
      node = JSON.readTree(TextFile.read(file));
    } catch (JsonProcessingException e) {
      throw new IOException(file + ": expected JSON, found: " + JsonReason.of(e), e);
    }
    if (node.path("version").asInt() != VERSION) {
      throw new IOException(
          file + ": version: expected " + VERSION + ", found " + found(node.path("version")));
    }
    try {
      return new TrainingState(
          number(node, "/step"),
          number(node, "/optimizer_step"),
          number(node, "/generator/seed"),
          number(node, "/data/position"),
          Math.toIntExact(number(node, "/data/packs")),
          object(node, "config"),
          object(node, "options"));
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw new IOException(file + ": " + e.getMessage(), e);
    }
  }

  /**
   * Checks that a checkpoint is of the same network.
   *
   * @param where the checkpoint's name, for the message
   * @throws IllegalArgumentException naming every key that differs
   */
  public void requireConfig(ObjectNode expected, Path where) {
    List<String> differences = differences(expected, config);
    if (!differences.isEmpty()) {
      throw new IllegalArgumentException(
          where + " is a checkpoint of another config: " + String.join("; ", differences));
    }
  }

  /** The options that differ, one line each. */
  public List<String> optionDifferences(ObjectNode expected) {
    return differences(expected, options);
  }

  private static List<String> differences(ObjectNode expected, ObjectNode found) {
    TreeSet<String> keys = new TreeSet<>();
    expected.fieldNames().forEachRemaining(keys::add);
    found.fieldNames().forEachRemaining(keys::add);
    List<String> lines = new ArrayList<>();
    for (String key : keys) {
      JsonNode want = expected.path(key);
      JsonNode have = found.path(key);
      // Compared as text: a number that was read from JSON may be of another Java type.
      if (!want.toString().equals(have.toString())) {
        lines.add(
            key
                + ": expected "
                + (want.isMissingNode() ? "nothing" : want)
                + ", found "
                + (have.isMissingNode() ? "nothing" : have));
      }
    }
    return lines;
  }

  private static long number(JsonNode node, String path) {
    JsonNode value = node.at(path);
    if (!value.isIntegralNumber() || !value.canConvertToLong()) {
      throw new IllegalArgumentException(path + ": expected an integer, found " + found(value));
    }
    return value.longValue();
  }

  private static ObjectNode object(JsonNode node, String key) {
    if (node.path(key) instanceof ObjectNode object) {
      return object;
    }
    throw new IllegalArgumentException(
        key + ": expected an object, found " + found(node.path(key)));
  }

  private static String found(JsonNode value) {
    return value.isMissingNode() ? "nothing" : JsonReason.found(value);
  }
}
