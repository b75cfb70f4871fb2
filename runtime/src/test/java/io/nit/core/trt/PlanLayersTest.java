package io.nit.core.trt;

import static org.junit.jupiter.api.Assertions.assertDoesNotThrow;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Map;
import org.junit.jupiter.api.Test;

class PlanLayersTest {
  private static final String JSON =
      """
      {"Layers": [
        {"Name": "gemm", "LayerType": "gemm"},
        {"Name": "a", "LayerType": "PluginV3", "PluginType": "NitVarlenAttention"},
        {"Name": "b", "LayerType": "PluginV3", "PluginType": "NitVarlenAttention"},
        {"Name": "c", "LayerType": "PluginV3", "PluginType": "NitGatedAdaLn"}
      ], "Bindings": ["x", "v"]}
      """;

  @Test
  void pluginsAreCountedByType() throws TensorRtException {
    PlanLayers layers = PlanLayers.parse(JSON);
    assertEquals(4, layers.layers());
    assertEquals(Map.of("NitVarlenAttention", 2, "NitGatedAdaLn", 1), layers.plugins());
    assertDoesNotThrow(
        () -> layers.requirePlugins(Map.of("NitVarlenAttention", 2, "NitGatedAdaLn", 1)));
  }

  @Test
  void layersThatAreListedForEveryProfileCountAsOne() throws TensorRtException {
    PlanLayers layers = new PlanLayers(8, Map.of("NitVarlenAttention", 8), JSON);
    assertDoesNotThrow(() -> layers.requirePlugins(Map.of("NitVarlenAttention", 2)));
    assertThrows(
        TensorRtException.class, () -> layers.requirePlugins(Map.of("NitVarlenAttention", 9)));
  }

  @Test
  void aPluginThatWasNotTakenIsNamedWithBothCounts() throws TensorRtException {
    PlanLayers layers = PlanLayers.parse(JSON);
    String message =
        assertThrows(
                TensorRtException.class,
                () -> layers.requirePlugins(Map.of("NitVarlenAttention", 3, "NitQkNormRope2d", 2)))
            .getMessage();
    assertEquals(
        "plugin layers of the engine: NitGatedAdaLn: expected 0, found 1;"
            + " NitQkNormRope2d: expected 2, found 0; NitVarlenAttention: expected 3, found 2",
        message);
  }

  @Test
  void layersWithoutDetailsAreNoProof() {
    for (String json : new String[] {"{\"Layers\": [\"gemm\"]}", "no JSON"}) {
      String message =
          assertThrows(TensorRtException.class, () -> PlanLayers.parse(json)).getMessage();
      assertTrue(message.startsWith("engine inspector: expected"), message);
    }
  }

  @Test
  void whatTheInspectorDoesNotTellIsNoEngineWithoutLayers() {
    for (String json : new String[] {null, "", "{}", "{\"Layers\": 4}"}) {
      assertEquals(
          "engine inspector: expected layers, found "
              + (json == null || json.isEmpty() ? "nothing" : json),
          assertThrows(TensorRtException.class, () -> PlanLayers.parse(json)).getMessage());
    }
  }
}
