package io.nit.core.codec;

import com.fasterxml.jackson.databind.JsonNode;
import io.nit.core.config.DcAeConfig;
import java.util.Optional;

/** Makes codec specs from their manifest entries. */
public final class Codecs {
  private Codecs() {}

  /**
   * The codec of a manifest entry.
   *
   * @param node {@code {"type": "space-to-depth", "factor": 4, "scale": 1, "shift": 0}} or {@code
   *     {"type": "dc-ae", "weights_sha256": "…", "config": {…}}}
   * @param where the file's name, for messages
   * @throws IllegalArgumentException if the type is unknown or a value is wrong
   */
  public static CodecSpec of(JsonNode node, String where) {
    String type = node.path("type").asText("nothing");
    return switch (type) {
      case SpaceToDepthCodec.TYPE -> spaceToDepth(node, where);
      case DcAeSpec.TYPE ->
          new DcAeSpec(
              DcAeConfig.fromNode(node.get("config"), where + ": codec.config"),
              hash(node.get("weights_sha256"), where));
      default ->
          throw new IllegalArgumentException(
              where
                  + ": codec.type: expected "
                  + SpaceToDepthCodec.TYPE
                  + " or "
                  + DcAeSpec.TYPE
                  + ", found "
                  + type);
    };
  }

  private static Optional<String> hash(JsonNode node, String where) {
    if (node != null && !node.asText().matches("[0-9a-f]{64}")) {
      throw new IllegalArgumentException(
          where + ": codec.weights_sha256: expected 64 hexadecimal digits, found " + node);
    }
    return Optional.ofNullable(node).map(JsonNode::asText);
  }

  private static SpaceToDepthCodec spaceToDepth(JsonNode node, String where) {
    if (!node.path("factor").isInt()) {
      throw new IllegalArgumentException(
          where + ": codec.factor: expected an integer, found " + node.path("factor"));
    }
    try {
      return new SpaceToDepthCodec(
          node.get("factor").intValue(),
          number(node, "scale", 1, where),
          number(node, "shift", 0, where));
    } catch (IllegalArgumentException e) {
      String message = e.getMessage();
      throw message.startsWith(where) ? e : new IllegalArgumentException(where + ": " + message, e);
    }
  }

  private static float number(JsonNode node, String key, float otherwise, String where) {
    if (node.has(key) && !node.get(key).isNumber()) {
      throw new IllegalArgumentException(
          where + ": codec." + key + ": expected a number, found " + node.get(key));
    }
    return (float) node.path(key).asDouble(otherwise);
  }
}
