package io.nit.core.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class NitConfigTest {
  @TempDir Path folder;

  @ParameterizedTest
  @CsvSource({
    "NiT-S, 12, 384, 6, 64, 768, 4, 768",
    "NiT-B, 12, 768, 12, 64, 2048, 4, 1280",
    "NiT-L, 24, 1024, 16, 64, 2048, 6, 1280",
    "NiT-XL, 28, 1152, 16, 72, 2048, 8, 1280",
    "NiT-XXL, 40, 1536, 24, 64, 2048, 8, 1280",
  })
  void presetsAreThePublishedSizes(
      String name,
      int depth,
      int hidden,
      int heads,
      int headDim,
      int projector,
      int encoder,
      int z) {
    NitConfig config = NitConfig.preset(name);
    assertEquals(depth, config.depth());
    assertEquals(hidden, config.hiddenSize());
    assertEquals(heads, config.numHeads());
    assertEquals(headDim, config.headDim());
    assertEquals(projector, config.projectorDim());
    assertEquals(encoder, config.encoderDepth());
    assertEquals(z, config.zDim());
    assertEquals(32, config.inChannels());
    assertEquals(1, config.patchSize());
    assertEquals(1000, config.numClasses());
    assertEquals(1001, config.labelRows());
    assertEquals(4 * hidden, config.mlpHidden());
    assertTrue(config.qkNorm());
    assertEquals(PositionOrder.AXIAL, config.positionOrder());
  }

  @Test
  void everyPresetRoundTripsThroughJson() {
    NitConfig.PRESETS.forEach(
        (name, config) ->
            assertEquals(
                config, NitConfig.fromJson(config.toJson(), name, PositionOrder.RELEASED)));
    assertEquals(
        List.of("NiT-S", "NiT-B", "NiT-L", "NiT-XL", "NiT-XXL"),
        List.copyOf(NitConfig.PRESETS.keySet()));
  }

  @Test
  void aConfigThatSetsEveryKeyRoundTrips() {
    NitConfig config =
        NitConfig.xl()
            .with(
                Map.ofEntries(
                    Map.entry("patch_size", 2),
                    Map.entry("mlp_ratio", 2.5),
                    Map.entry("class_dropout_prob", 0.0),
                    Map.entry("qk_norm", false),
                    Map.entry("use_adaln_lora", true),
                    Map.entry("adaln_lora_dim", 64),
                    Map.entry("custom_freqs", "ntk-by-parts"),
                    Map.entry("theta", 5000.5),
                    Map.entry("max_pe_len_h", 40),
                    Map.entry("max_pe_len_w", 48),
                    Map.entry("decouple", true),
                    Map.entry("ori_max_pe_len", 16),
                    Map.entry("position_order", "released")));
    assertEquals(config, NitConfig.fromJson(config.toJson(), "test", PositionOrder.AXIAL));
    assertEquals(2880, config.mlpHidden());
    assertEquals(128, config.tokenSize());
    assertEquals(1000, config.labelRows());
    assertFalse(config.hasNullClass());
  }

  @Test
  void presetNamesAreTakenWithoutCaseAndPrefix() {
    assertEquals(NitConfig.xl(), NitConfig.preset("xl"));
    assertEquals(NitConfig.xl(), NitConfig.preset("nit-XL"));
    assertMessage(
        "preset: expected one of s, b, l, xl, xxl; found 'xs'", () -> NitConfig.preset("xs"));
  }

  @Test
  void theAuthorsNestingAndTheirOtherKeysAreAccepted() throws IOException {
    String json =
        "{\"model\": {\"transport\": {\"path_type\": \"linear\"}, \"use_ema\": true,"
            + " \"network\": {\"target\": \"NiT\", \"params\": {\"class_dropout_prob\": 0.1,"
            + " \"num_classes\": 1000, \"depth\": 12, \"hidden_size\": 384, \"patch_size\": 1,"
            + " \"in_channels\": 32, \"num_heads\": 6, \"qk_norm\": true, \"encoder_depth\": 4,"
            + " \"z_dim\": 768, \"projector_dim\": 768, \"use_checkpoint\": false,"
            + " \"ori_max_pe_len\": null}}}, \"data\": {}}";
    Path file = Files.writeString(folder.resolve("s.json"), json);
    assertEquals(NitConfig.s(), NitConfig.read(file, PositionOrder.AXIAL));
    assertEquals(
        PositionOrder.RELEASED, NitConfig.read(file, PositionOrder.RELEASED).positionOrder());
  }

  @Test
  void theFilesPositionOrderWins() {
    String json =
        "{\"hidden_size\": 8, \"depth\": 1, \"num_heads\": 1, \"position_order\": \"axial\"}";
    assertEquals(
        PositionOrder.AXIAL,
        NitConfig.fromJson(json, "test", PositionOrder.RELEASED).positionOrder());
    assertEquals(
        PositionOrder.RELEASED,
        NitConfig.s().withPositionOrder(PositionOrder.RELEASED).positionOrder());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "`\"hidden_sise\": 4` | unknown config keys [hidden_sise]",
        "`\"hidden_size\": 8, \"hidden_size\": 8` | twice",
        "`\"hidden_size\": \"8\"` | hidden_size: expected an integer, found \"8\"",
        "`\"hidden_size\": 8.5` | hidden_size: expected an integer, found 8.5",
        "`\"hidden_size\": 99999999999` | hidden_size: expected an integer",
        "`\"hidden_size\": 0` | hidden_size: expected 1..65536, found 0",
        "`\"hidden_size\": null` | hidden_size: expected an integer, found nothing",
        "`\"hidden_size\": 10, \"num_heads\": 3` | hidden_size (10) is not divisible by num_heads (3)",
        "`\"hidden_size\": 12, \"num_heads\": 2` | head_dim = hidden_size / num_heads: expected a multiple of 4",
        "`\"num_heads\": -1` | num_heads: expected 1..1024, found -1",
        "`\"depth\": 0` | depth: expected 1..1024, found 0",
        "`\"depth\": 5000` | depth: expected 1..1024, found 5000",
        "`\"patch_size\": 0` | patch_size: expected 1..64, found 0",
        "`\"in_channels\": 0` | in_channels: expected 1..4096, found 0",
        "`\"num_classes\": 0` | num_classes: expected 1..",
        "`\"mlp_ratio\": 0` | mlp_ratio: expected above 0, found 0",
        "`\"mlp_ratio\": \"4\"` | mlp_ratio: expected a number, found \"4\"",
        "`\"class_dropout_prob\": 1` | class_dropout_prob: expected in [0, 1), found 1",
        "`\"encoder_depth\": 3` | encoder_depth: expected 1..2 (depth), found 3",
        "`\"projector_dim\": 0` | projector_dim: expected 1..",
        "`\"z_dim\": 0` | z_dim: expected 1..",
        "`\"qk_norm\": 1` | qk_norm: expected true or false, found 1",
        "`\"use_adaln_lora\": true` | adaln_lora_dim: expected 1..",
        "`\"adaln_lora_dim\": 4` | adaln_lora_dim: expected none without use_adaln_lora, found 4",
        "`\"custom_freqs\": \"ntk\"` | custom_freqs: expected one of normal, linear, ntk-aware",
        "`\"custom_freqs\": 3` | custom_freqs: expected a string, found 3",
        "`\"custom_freqs\": \"yarn\"` | custom_freqs 'yarn' needs ori_max_pe_len",
        "`\"theta\": 1` | theta: expected above 1, found 1",
        "`\"max_pe_len_h\": -1` | max_pe_len_h: expected 1 or more, found -1",
        "`\"max_pe_len_w\": -1` | max_pe_len_w: expected 1 or more, found -1",
        "`\"ori_max_pe_len\": 1` | ori_max_pe_len: expected at least 2, found 1",
        "`\"decouple\": \"yes\"` | decouple: expected true or false",
        "`\"position_order\": \"rows\"` | position_order: expected one of released, axial; found 'rows'",
      })
  void everyBadValueIsNamedWithItsFile(String change, String message) {
    String json = "{\"hidden_size\": 8, \"depth\": 2, \"num_heads\": 1, " + change + "}";
    for (String key : List.of("hidden_size", "depth", "num_heads")) {
      boolean twice = message.equals("twice");
      if (!twice && change.contains("\"" + key + "\"")) {
        json = json.replaceFirst("\"" + key + "\": \\d+, ", "");
      }
    }
    String text = json;
    assertMessage(
        "my.json: ", message, () -> NitConfig.fromJson(text, "my.json", PositionOrder.AXIAL));
  }

  @Test
  void whatIsNoObjectIsRefused() {
    for (String json : List.of("[]", "5", "", "{", "{} {}")) {
      assertMessage(
          "my.json: expected a JSON object",
          () -> NitConfig.fromJson(json, "my.json", PositionOrder.AXIAL));
    }
  }

  @Test
  void modesAndOrdersAreFoundByTheirKeys() {
    for (CustomFreqs mode : CustomFreqs.values()) {
      assertEquals(mode, CustomFreqs.parse(mode.key()));
    }
    assertEquals("ntk-aware-pro1", CustomFreqs.NTK_AWARE_PRO1.key());
    for (PositionOrder order : PositionOrder.values()) {
      assertEquals(order, PositionOrder.parse(order.key()));
    }
  }

  private static void assertMessage(String start, Executable call) {
    assertMessage(start, "", call);
  }

  private static void assertMessage(String start, String part, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.startsWith(start) && message.contains(part), message);
  }
}
