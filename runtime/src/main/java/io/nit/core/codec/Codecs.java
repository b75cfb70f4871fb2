package io.nit.core.codec;

import com.fasterxml.jackson.databind.JsonNode;

/** Makes codecs from their manifest entries. */
public final class Codecs {
  private Codecs() {}

  /**
   * The codec of a manifest entry.
   *
   * @param node {@code {"type": "space-to-depth", "factor": 4, "scale": 1, "shift": 0}}
   * @param where the file's name, for messages
   * @throws IllegalArgumentException if the type is unknown or a value is wrong
   */
  public static LatentCodec of(JsonNode node, String where) {
    String type = node.path("type").asText("nothing");
    if (!type.equals(SpaceToDepthCodec.TYPE)) {
      throw new IllegalArgumentException(
          where + ": codec.type: expected " + SpaceToDepthCodec.TYPE + ", found " + type);
    }
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
