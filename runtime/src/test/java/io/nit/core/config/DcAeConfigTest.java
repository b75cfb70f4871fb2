package io.nit.core.config;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.Sha256;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.MethodSource;

class DcAeConfigTest {
  /** As it stands in {@code vae/config.json} of the SANA pipelines. */
  private static final String SANA_1_1 =
      """
      {
        "_class_name": "AutoencoderDC",
        "_diffusers_version": "0.33.0.dev0",
        "_name_or_path": "mit-han-lab/dc-ae-f32c32-sana-1.1-diffusers",
        "attention_head_dim": 32,
        "decoder_act_fns": "silu",
        "decoder_block_out_channels": [
          128,
          256,
          512,
          512,
          1024,
          1024
        ],
        "decoder_block_types": [
          "ResBlock",
          "ResBlock",
          "ResBlock",
          "EfficientViTBlock",
          "EfficientViTBlock",
          "EfficientViTBlock"
        ],
        "decoder_layers_per_block": [
          3,
          3,
          3,
          3,
          3,
          3
        ],
        "decoder_norm_types": "rms_norm",
        "decoder_qkv_multiscales": [
          [],
          [],
          [],
          [
            5
          ],
          [
            5
          ],
          [
            5
          ]
        ],
        "downsample_block_type": "Conv",
        "encoder_block_out_channels": [
          128,
          256,
          512,
          512,
          1024,
          1024
        ],
        "encoder_block_types": [
          "ResBlock",
          "ResBlock",
          "ResBlock",
          "EfficientViTBlock",
          "EfficientViTBlock",
          "EfficientViTBlock"
        ],
        "encoder_layers_per_block": [
          2,
          2,
          2,
          3,
          3,
          3
        ],
        "encoder_qkv_multiscales": [
          [],
          [],
          [],
          [
            5
          ],
          [
            5
          ],
          [
            5
          ]
        ],
        "in_channels": 3,
        "latent_channels": 32,
        "scaling_factor": 0.41407,
        "upsample_block_type": "interpolate"
      }
      """;

  @Test
  void theReleasedConfigFileIsRead() {
    // The text above is the released file to the byte: its published hash.
    assertTrue(Sha256.of(SANA_1_1).startsWith("ba6f3d3e"), Sha256.of(SANA_1_1));
    DcAeConfig config = DcAeConfig.fromJson(SANA_1_1, "config.json");
    assertEquals(DcAeConfig.preset("dc-ae-f32c32-sana-1.1"), config);
    assertEquals(32, config.factor());
    assertEquals(0.41407, config.scalingFactor());
    assertFalse(config.pixelUnshuffle());
    assertTrue(config.interpolate());
  }

  static Iterable<DcAeConfig> published() {
    return DcAeConfig.PRESETS.values();
  }

  @ParameterizedTest
  @MethodSource("published")
  void whatIsWrittenIsReadAgain(DcAeConfig config) {
    assertEquals(config, DcAeConfig.fromNode(config.toNode(), "here"));
    assertEquals(
        config, DcAeConfig.fromJson(config.toNode().toPrettyString(), "here"), "through text");
  }

  @Test
  void factorsFollowFromTheStages() {
    assertEquals(8, GeneratedDcAe.small().factor());
    assertEquals(64, DcAeConfig.preset("f64c128-in-1.0").factor());
    assertEquals(128, DcAeConfig.preset("f128c512-in-1.0").factor());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "_class_name | \"AutoencoderKL\" | expected AutoencoderDC, found \"AutoencoderKL\"",
        "in_channels | 4 | in_channels: expected 3 (RGB), found 4",
        "latent_channels | -2 | latent_channels: expected 1..4096, found -2",
        "latent_channels | \"many\" | latent_channels: expected an integer, found \"many\"",
        "encoder_block_out_channels | [8, 16, 16] | encoder_layers_per_block: expected 3 entries",
        "encoder_block_out_channels | [8, 16, 16, 12] | multiples of 8, found 12",
        "encoder_block_out_channels | [8, 36, 16, 32] | divide four times",
        "encoder_block_out_channels | [8, 16, 16, 2000000000] | found 2000000000",
        "encoder_layers_per_block | [1, 0, 1, 1] | encoder_layers_per_block: expected 1..256",
        "encoder_qkv_multiscales | [[5], [], [], []] | expected none in stages of ResBlock",
        "decoder_qkv_multiscales | [[], [], [4], []] | expected odd kernel sizes of 1..31, found 4",
        "decoder_norm_types | \"group_norm\" | one of rms_norm, batch_norm; found \"group_norm\"",
        "decoder_norm_types | \"batch_norm\" | expected rms_norm in stages of EfficientViTBlock",
        "decoder_block_types | [\"ResBlock\"] | decoder_block_types: expected 4 entries",
        "scaling_factor | 0 | scaling_factor: expected above 0 and finite, found 0.0",
        "shift_factor | 1 | expected the keys of AutoencoderDC, found also [shift_factor]",
        "encoder_out_shortcut | 3 | encoder_out_shortcut: expected true or false, found 3"
      })
  void wrongValuesAreNamed(String key, String value, String message) throws IOException {
    ObjectNode node = GeneratedDcAe.small().toNode();
    node.set(key, new ObjectMapper().readTree(value));
    String found =
        assertThrows(
                IllegalArgumentException.class, () -> DcAeConfig.fromNode(node, "vae/config.json"))
            .getMessage();
    assertTrue(found.startsWith("vae/config.json: "), found);
    assertTrue(found.contains(message), found);
  }

  @Test
  void unknownPresetsAreRefusedWithTheKnownOnes() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> DcAeConfig.preset("f99")).getMessage();
    assertTrue(message.contains("f32c32-sana-1.1"), message);
  }
}
