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
    return new SpaceToDepthCodec(
        node.get("factor").intValue(),
        (float) node.path("scale").asDouble(1),
        (float) node.path("shift").asDouble(0));
  }
}
