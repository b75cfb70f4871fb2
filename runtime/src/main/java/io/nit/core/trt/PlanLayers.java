package io.nit.core.trt;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.core.json.JsonReadFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.json.JsonMapper;
import java.util.Map;
import java.util.TreeMap;
import java.util.TreeSet;

/**
 * What an engine is made of, as TensorRT's inspector tells it.
 *
 * @param layers how many layers there are, over all profiles
 * @param plugins how many of them are V3 plugins, by the plugin's name
 * @param json the inspector's own words
 */
public record PlanLayers(int layers, Map<String, Integer> plugins, String json) {
  // TensorRT writes names and numbers as they are.
  private static final ObjectMapper JSON =
      JsonMapper.builder()
          .enable(JsonReadFeature.ALLOW_NON_NUMERIC_NUMBERS)
          .enable(JsonReadFeature.ALLOW_UNESCAPED_CONTROL_CHARS)
          .build();

  /** Copies the map. */
  public PlanLayers {
    plugins = Map.copyOf(plugins);
  }

  /**
   * Reads the inspector's JSON: {@code {"Layers": [{"LayerType": "PluginV3", "PluginType": ...}]}}.
   *
   * @throws TensorRtException if it is no such JSON, as of an engine that was built without
   *     detailed verbosity, whose layers are names only
   */
  public static PlanLayers parse(String json) throws TensorRtException {
    JsonNode all;
    try {
      // TensorRT gives null where it fails, which Jackson does not take.
      all = JSON.readTree(json == null ? "" : json).path("Layers");
    } catch (JsonProcessingException e) {
      throw new TensorRtException("engine inspector: expected JSON, found " + start(json), e);
    }
    if (!all.isArray()) {
      throw new TensorRtException("engine inspector: expected layers, found " + start(json));
    }
    Map<String, Integer> plugins = new TreeMap<>();
    for (JsonNode layer : all) {
      if (!layer.isObject()) {
        throw new TensorRtException(
            "engine inspector: expected detailed layers, found " + start(layer.toString()));
      }
      if (layer.path("LayerType").asText().equals("PluginV3")) {
        plugins.merge(layer.path("PluginType").asText("unknown"), 1, Integer::sum);
      }
    }
    return new PlanLayers(all.size(), plugins, json);
  }

  private static String start(String text) {
    return text == null || text.isBlank()
        ? "nothing"
        : text.substring(0, Math.min(200, text.length()));
  }

  /**
   * Checks that the engine runs our plugins, and not something that computes the same more slowly.
   * There may be more layers than the model has nodes, as the inspector may list a layer once for
   * every profile.
   *
   * @param expected how many nodes of each plugin the model has
   * @throws TensorRtException naming every plugin that has fewer layers, or is not the model's
   */
  public void requirePlugins(Map<String, Integer> expected) throws TensorRtException {
    TreeSet<String> names = new TreeSet<>(expected.keySet());
    names.addAll(plugins.keySet());
    StringBuilder wrong = new StringBuilder();
    for (String name : names) {
      int wanted = expected.getOrDefault(name, 0);
      int found = plugins.getOrDefault(name, 0);
      if (found < wanted || wanted == 0) {
        wrong.append(wrong.isEmpty() ? "" : "; ");
        wrong.append(name).append(": expected ").append(wanted).append(", found ").append(found);
      }
    }
    if (!wrong.isEmpty()) {
      throw new TensorRtException("plugin layers of the engine: " + wrong);
    }
  }
}
