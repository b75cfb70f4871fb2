package io.nit.runtime;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.config.CustomFreqs;
import io.nit.core.flow.SamplerKind;
import io.nit.core.io.JsonReason;
import java.util.Map;

/**
 * Requests as JSON objects, one a line in a {@code requests.jsonl}:
 *
 * <pre>{@code
 * {"id": "first", "label": 3, "size": "512x768", "seed": 1, "steps": 50, "sampler": "euler",
 *  "guidance": 2.5, "guidance_interval": [0, 0.7], "rope_mode": "yarn", "rope_reference": 16}
 * }</pre>
 *
 * {@code label} (a number or a name) and {@code size} (width x height) are required; what else is
 * missing stays as the builder has it. Unknown keys are refused.
 */
public final class RequestJson {
  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY)
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS);

  private RequestJson() {}

  /**
   * Reads one object.
   *
   * @param defaults starts the request
   * @throws IllegalArgumentException if the text is no JSON object, a key is unknown or a value
   *     does not fit; names the key
   */
  public static ImageRequest read(String json, ImageRequest.Builder defaults) {
    JsonNode node;
    try {
      node = JSON.readTree(json);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException("expected a JSON object, found: " + JsonReason.of(e), e);
    }
    if (node == null || !node.isObject()) {
      throw new IllegalArgumentException(
          "expected a JSON object, found: " + (node == null ? json : JsonReason.found(node)));
    }
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      set(defaults, field.getKey(), field.getValue());
    }
    if (!node.has("size")) {
      throw new IllegalArgumentException(
          "size: expected WIDTHxHEIGHT in pixels, such as 512x768; found none");
    }
    return defaults.build();
  }

  private static void set(ImageRequest.Builder request, String key, JsonNode value) {
    switch (key) {
      case "id" -> request.id(text(key, value));
      case "label" -> {
        expect(value.isInt() || value.isTextual(), key, "a class by number or name", value);
        request.label(value.asText());
      }
      case "size" -> request.size(text(key, value));
      case "seed" -> {
        expect(
            value.isIntegralNumber() && value.canConvertToLong(),
            key,
            JsonReason.expectedWhole(value, Long.MIN_VALUE, Long.MAX_VALUE),
            value);
        request.seed(value.longValue());
      }
      case "steps" -> request.steps(whole(key, value));
      case "sampler" -> request.sampler(SamplerKind.parse(text(key, value)));
      case "guidance" -> {
        expect(value.isNumber(), key, "a number", value);
        request.guidanceScale(value.doubleValue());
      }
      case "guidance_interval" -> {
        expect(
            value.isArray()
                && value.size() == 2
                && value.get(0).isNumber()
                && value.get(1).isNumber(),
            key,
            "[low, high]",
            value);
        request.guidanceInterval(value.get(0).doubleValue(), value.get(1).doubleValue());
      }
      case "rope_mode" -> request.ropeMode(ropeMode(key, text(key, value)));
      case "rope_reference" -> request.ropeReference(whole(key, value));
      default ->
          throw new IllegalArgumentException(
              key
                  + ": expected one of id, label, size, seed, steps, sampler, guidance,"
                  + " guidance_interval, rope_mode, rope_reference");
    }
  }

  /** One line; every key but those that leave the choice to the model. */
  static String write(ImageRequest request) {
    ObjectNode node = JSON.createObjectNode();
    request.id().ifPresent(id -> node.put("id", id));
    node.put("label", request.label())
        .put("size", request.width() + "x" + request.height())
        .put("seed", request.seed())
        .put("steps", request.steps())
        .put("sampler", request.sampler().key())
        .put("guidance", request.guidance().scale())
        .putArray("guidance_interval")
        .add(request.guidance().low())
        .add(request.guidance().high());
    request.ropeMode().ifPresent(mode -> node.put("rope_mode", mode.key()));
    if (request.ropeReference() > 0) {
      node.put("rope_reference", request.ropeReference());
    }
    return node.toString();
  }

  private static CustomFreqs ropeMode(String key, String value) {
    try {
      return CustomFreqs.parse(value);
    } catch (IllegalArgumentException e) {
      // A model's config calls it otherwise.
      throw new IllegalArgumentException(key + e.getMessage().replaceFirst("^[a-z_]+", ""), e);
    }
  }

  private static String text(String key, JsonNode value) {
    expect(value.isTextual(), key, "a string", value);
    return value.textValue();
  }

  private static int whole(String key, JsonNode value) {
    expect(
        value.isInt(),
        key,
        JsonReason.expectedWhole(value, Integer.MIN_VALUE, Integer.MAX_VALUE),
        value);
    return value.intValue();
  }

  private static void expect(boolean holds, String key, String expected, JsonNode found) {
    if (!holds) {
      throw new IllegalArgumentException(
          key + ": expected " + expected + ", found " + JsonReason.found(found));
    }
  }
}
