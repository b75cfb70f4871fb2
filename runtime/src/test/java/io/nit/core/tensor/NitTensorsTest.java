package io.nit.core.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.testing.Golden;
import io.nit.testing.GoldenState;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

class NitTensorsTest {
  private static final NitConfig TINY =
      NitConfig.s().with(Map.of("hidden_size", 48, "depth", 2, "num_heads", 2, "encoder_depth", 1));

  @Test
  void xlHasThePublishedParameterCounts() {
    assertEquals(674_861_216, NitTensors.parameters(NitConfig.xl(), false));
    assertEquals(684_041_632, NitTensors.parameters(NitConfig.xl(), true));
  }

  @Test
  void theAuthorsCheckpointHasExactlyTheseTensors() {
    Map<String, TensorSpec> found = new GoldenState(Golden.nitTiny()).specs();
    assertEquals(List.of(), NitTensors.differences(Golden.nitTinyConfig(), found, "golden"));
    assertEquals(found.keySet(), NitTensors.of(Golden.nitTinyConfig(), true).keySet());
  }

  @Test
  void tensorsComeInForwardOrder() {
    List<String> names = List.copyOf(NitTensors.of(TINY, true).keySet());
    assertEquals("x_embedder.proj.weight", names.get(0));
    assertTrue(names.indexOf("blocks.0.mlp.fc2.bias") < names.indexOf("blocks.1.attn.qkv.weight"));
    assertEquals("projector.4.bias", names.get(names.size() - 1));
  }

  @Test
  void optionsDecideWhichTensorsThereAre() {
    NitConfig lora =
        TINY.with(Map.of("qk_norm", false, "use_adaln_lora", true, "adaln_lora_dim", 6));
    Map<String, TensorSpec> specs = NitTensors.of(lora, false);
    assertFalse(specs.containsKey("blocks.0.attn.q_norm.weight"));
    assertEquals(Shape.of(6, 48), specs.get("blocks.0.adaLN_modulation.1.weight").shape());
    assertEquals(Shape.of(288, 6), specs.get("blocks.0.adaLN_modulation.2.weight").shape());
    assertEquals(Shape.of(288), specs.get("blocks.0.adaLN_modulation.2.bias").shape());
    NitConfig patch = TINY.with(Map.of("patch_size", 2, "class_dropout_prob", 0));
    assertEquals(
        Shape.of(48, 32, 2, 2), NitTensors.of(patch, false).get("x_embedder.proj.weight").shape());
    assertEquals(
        Shape.of(128, 48), NitTensors.of(patch, false).get("final_layer.linear.weight").shape());
    assertEquals(
        Shape.of(1000, 48),
        NitTensors.of(patch, false).get("y_embedder.embedding_table.weight").shape());
  }

  @Test
  void theProjectorMayBeThereOrNot() {
    for (boolean projector : new boolean[] {false, true}) {
      assertEquals(List.of(), NitTensors.differences(TINY, NitTensors.of(TINY, projector), "file"));
    }
  }

  @Test
  void everyDifferenceIsALineOfExpectedFoundAndWhere() {
    Map<String, TensorSpec> found = new LinkedHashMap<>(NitTensors.of(TINY, false));
    found.remove("blocks.1.attn.proj.bias");
    put(found, "blocks.0.attn.qkv.weight", DType.F32, 48, 144);
    put(found, "t_embedder.mlp.0.bias", DType.I64, 48);
    put(found, "pos_embed", DType.F32, 7);
    put(found, "final_layer.linear.bias", DType.BF16, 32);
    assertEquals(
        List.of(
            "t_embedder.mlp.0.bias: expected a float type, found I64 in f.safetensors",
            "blocks.0.attn.qkv.weight: expected [144, 48], found [48, 144] in f.safetensors",
            "blocks.1.attn.proj.bias: expected [48], found nothing in f.safetensors",
            "pos_embed: expected no such tensor, found [7] in f.safetensors"),
        NitTensors.differences(TINY, found, "f.safetensors"));
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () -> NitTensors.require(TINY, found, "f.safetensors"))
            .getMessage();
    assertTrue(message.startsWith("f.safetensors does not fit the config (4 differences)"));
  }

  @Test
  void aPartOfTheProjectorIsNotEnough() {
    Map<String, TensorSpec> found = new LinkedHashMap<>(NitTensors.of(TINY, true));
    found.remove("projector.2.weight");
    assertEquals(
        List.of("projector.2.weight: expected [768, 768], found nothing in file"),
        NitTensors.differences(TINY, found, "file"));
  }

  @Test
  void ofManyDifferencesTwentyAreShownAndEveryTensorIsNamed() {
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> NitTensors.require(TINY, Map.of(), "file"))
            .getMessage();
    List<String> names = List.copyOf(NitTensors.of(TINY, false).keySet());
    int all = names.size();
    assertTrue(message.contains("(" + all + " differences)"), message);
    String rest = String.join(", ", names.subList(20, all));
    assertTrue(message.endsWith("and " + (all - 20) + " more: " + rest), message);
  }

  private static void put(Map<String, TensorSpec> specs, String name, DType type, long... dims) {
    specs.put(name, new TensorSpec(name, type, Shape.of(dims)));
  }
}
