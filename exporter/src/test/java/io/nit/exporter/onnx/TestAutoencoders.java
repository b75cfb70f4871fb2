package io.nit.exporter.onnx;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.config.DcAeConfig;
import io.nit.testing.GeneratedDcAe;

/** Small autoencoders that between them take every path of the graph. */
public final class TestAutoencoders {
  /** Their names. */
  public static final String[] NAMES = {
    "sana",
    "shuffled",
    "first_family",
    "lite",
    "no_first_stage",
    "no_end_shortcuts",
    "two_scales",
    "other_ratios"
  };

  private TestAutoencoders() {}

  /** One of {@link #NAMES}. */
  public static DcAeConfig of(String name) {
    ObjectNode node = GeneratedDcAe.small().toNode();
    switch (name) {
      case "sana" -> {}
      case "shuffled" -> shuffled(node);
      case "first_family" -> {
        shuffled(node);
        first(node, "encoder");
        first(node, "decoder");
        strings(node, "decoder_norm_types", "batch_norm", "batch_norm", "rms_norm", "rms_norm");
        strings(node, "decoder_act_fns", "relu", "relu", "silu", "silu");
        noScales(node, "encoder");
        noScales(node, "decoder");
      }
      case "lite" -> {
        first(node, "decoder");
        noScales(node, "decoder");
        strings(node, "decoder_block_types", "ResBlock", "ResBlock", "ResBlock", "ResBlock");
        node.put("upsample_block_type", "pixel_shuffle").put("decoder_conv_act_fn", "silu");
      }
      case "no_first_stage" -> {
        first(node, "encoder");
        first(node, "decoder");
      }
      case "no_end_shortcuts" ->
          node.put("encoder_out_shortcut", false).put("decoder_in_shortcut", false);
      case "two_scales" -> {
        for (String side : new String[] {"encoder", "decoder"}) {
          ArrayNode scales = node.putArray(side + "_qkv_multiscales");
          scales.addArray();
          scales.addArray();
          scales.addArray().add(3);
          scales.addArray().add(5).add(3);
        }
      }
      case "other_ratios" -> {
        // channels × 4, / 2 and × 3: means of 1, 8 and 4/3 · 1 channels
        for (String side : new String[] {"encoder", "decoder"}) {
          ArrayNode channels = node.putArray(side + "_block_out_channels");
          channels.add(12).add(48).add(24).add(32);
        }
      }
      default -> throw new IllegalArgumentException(name);
    }
    return DcAeConfig.fromNode(node, name);
  }

  private static void shuffled(ObjectNode node) {
    node.put("downsample_block_type", "pixel_unshuffle");
    node.put("upsample_block_type", "pixel_shuffle");
  }

  private static void first(ObjectNode node, String side) {
    ArrayNode layers = node.putArray(side + "_layers_per_block");
    layers.add(0).add(2).add(1).add(1);
  }

  private static void noScales(ObjectNode node, String side) {
    ArrayNode scales = node.putArray(side + "_qkv_multiscales");
    for (int i = 0; i < 4; i++) {
      scales.addArray();
    }
  }

  private static void strings(ObjectNode node, String key, String... values) {
    ArrayNode array = node.putArray(key);
    for (String value : values) {
      array.add(value);
    }
  }
}
