package io.nit.samples.spring;

import com.fasterxml.jackson.databind.JsonNode;
import io.nit.core.io.JsonReason;
import io.nit.runtime.ImageRequest;
import java.util.Iterator;
import java.util.List;
import java.util.concurrent.ThreadLocalRandom;

/**
 * What a client posts. What is missing or null but label, width and height is the bundle's default.
 *
 * @param label a class by its number or its name
 * @param width pixels
 * @param height pixels
 * @param steps steps of the sampler
 * @param guidanceScale of classifier-free guidance; 1 for none
 * @param seed the same seed gives the same picture; without one, each request draws its own
 */
record ImageBody(
    String label, Integer width, Integer height, Integer steps, Double guidanceScale, Long seed) {
  private static final List<String> KEYS =
      List.of("guidanceScale", "height", "label", "seed", "steps", "width");

  private static final long SEEDS = 1L << 32; // drawn seeds stay exact in every client's numbers

  /**
   * Takes a body apart. By hand and not by Jackson's data binding, whose messages name Java's
   * classes where a client knows JSON's types.
   *
   * @throws IllegalArgumentException if it is no object, a key is unknown or a value is of another
   *     type; names the key, what was expected and what was found
   */
  static ImageBody of(JsonNode body) {
    if (!body.isObject()) {
      throw new IllegalArgumentException(
          "expected a JSON object, found: " + JsonReason.found(body));
    }
    for (Iterator<String> keys = body.fieldNames(); keys.hasNext(); ) {
      String key = keys.next();
      if (!KEYS.contains(key)) {
        throw new IllegalArgumentException(key + ": expected one of " + String.join(", ", KEYS));
      }
    }
    return new ImageBody(
        label(body),
        natural(body, "width"),
        natural(body, "height"),
        natural(body, "steps"),
        number(body, "guidanceScale"),
        whole(body, "seed", Long.MIN_VALUE, Long.MAX_VALUE));
  }

  private static String label(JsonNode body) {
    if (!body.hasNonNull("label")) {
      return null;
    }
    JsonNode value = body.get("label");
    if (!value.isTextual() && !value.isIntegralNumber()) {
      throw wrong("label", "a class by number or name", value);
    }
    return value.asText();
  }

  private static Integer natural(JsonNode body, String key) {
    Long value = whole(body, key, 0, Integer.MAX_VALUE);
    return value == null ? null : value.intValue();
  }

  private static Long whole(JsonNode body, String key, long least, long most) {
    if (!body.hasNonNull(key)) {
      return null;
    }
    JsonNode value = body.get(key);
    if (!value.isIntegralNumber()
        || !value.canConvertToLong()
        || value.longValue() < least
        || value.longValue() > most) {
      throw wrong(key, JsonReason.expectedWhole(value, least, most), value);
    }
    return value.longValue();
  }

  private static Double number(JsonNode body, String key) {
    if (!body.hasNonNull(key)) {
      return null;
    }
    JsonNode value = body.get(key);
    if (!value.isNumber()) {
      throw wrong(key, "a number", value);
    }
    return value.doubleValue();
  }

  private static IllegalArgumentException wrong(String key, String expected, JsonNode found) {
    return new IllegalArgumentException(
        key + ": expected " + expected + ", found " + JsonReason.found(found));
  }

  /**
   * The request that was meant.
   *
   * @param request starts with the bundle's defaults
   * @throws IllegalArgumentException if a value does not fit; names it
   */
  ImageRequest toRequest(ImageRequest.Builder request, int maxSteps) {
    if (width == null || height == null) {
      throw new IllegalArgumentException(
          "width, height: expected pixels, found " + width + ", " + height);
    }
    if (steps != null) {
      if (steps > maxSteps) {
        throw new IllegalArgumentException(
            "steps: expected at most " + maxSteps + ", found " + steps);
      }
      request.steps(steps);
    }
    if (guidanceScale != null) {
      request.guidanceScale(guidanceScale);
    }
    return request
        .label(label)
        .size(width, height)
        .seed(seed == null ? ThreadLocalRandom.current().nextLong(SEEDS) : seed)
        .build();
  }
}
