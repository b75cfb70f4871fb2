package io.nit.trainer.autoencoder;

import io.nit.core.config.DcAeConfig;
import io.nit.testing.GeneratedDcAe;
import java.util.LinkedHashMap;
import java.util.Map;

/** Small members of the family: between them every choice that a config has. */
final class Family {
  private Family() {}

  /** By what is special about them. */
  static Map<String, DcAeConfig> members() {
    Map<String, DcAeConfig> all = new LinkedHashMap<>();
    all.put("f8, as SANA", GeneratedDcAe.small());
    all.put("f8, no first stage, shuffles, batch norm and relu", first());
    all.put("f16, several and no branches, no end shortcuts", several());
    all.put("f32, no first stage, pixel-shuffle up, silu before the end", lite());
    all.put("f4, odd widths: groups and repeats of 1 and 8", odd());
    return all;
  }

  /** After f32c32-in-1.0. */
  static DcAeConfig first() {
    return of(
        """
        {"latent_channels": 8, "attention_head_dim": 8, "scaling_factor": 0.3189,
         "downsample_block_type": "pixel_unshuffle", "upsample_block_type": "pixel_shuffle",
         "encoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
         "decoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock"],
         "encoder_block_out_channels": [8, 16, 16, 32],
         "decoder_block_out_channels": [8, 16, 16, 32],
         "encoder_layers_per_block": [0, 1, 2, 1], "decoder_layers_per_block": [0, 2, 1, 1],
         "encoder_qkv_multiscales": [[], [], [], []], "decoder_qkv_multiscales": [[], [], [], []],
         "decoder_norm_types": ["batch_norm", "batch_norm", "batch_norm", "rms_norm"],
         "decoder_act_fns": ["relu", "relu", "relu", "silu"]}
        """);
  }

  private static DcAeConfig several() {
    return of(
        """
        {"latent_channels": 6, "attention_head_dim": 4, "scaling_factor": 1.5,
         "downsample_block_type": "Conv", "upsample_block_type": "interpolate",
         "encoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
         "decoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
         "encoder_block_out_channels": [4, 8, 8, 16, 16],
         "decoder_block_out_channels": [4, 8, 8, 16, 16],
         "encoder_layers_per_block": [1, 1, 1, 1, 1], "decoder_layers_per_block": [1, 1, 1, 1, 1],
         "encoder_qkv_multiscales": [[], [], [], [3, 5], []],
         "decoder_qkv_multiscales": [[], [], [], [], [3, 7]],
         "encoder_out_shortcut": false, "decoder_in_shortcut": false}
        """);
  }

  private static DcAeConfig lite() {
    return of(
        """
        {"latent_channels": 4, "attention_head_dim": 8, "scaling_factor": 0.41407,
         "downsample_block_type": "Conv", "upsample_block_type": "pixel_shuffle",
         "encoder_block_types": ["ResBlock", "ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock", "EfficientViTBlock"],
         "decoder_block_types": "ResBlock",
         "encoder_block_out_channels": [4, 8, 8, 16, 16, 16],
         "decoder_block_out_channels": [4, 8, 8, 16, 16, 16],
         "encoder_layers_per_block": [0, 1, 1, 1, 1, 1], "decoder_layers_per_block": [0, 1, 2, 1, 1, 1],
         "encoder_qkv_multiscales": [[], [], [], [5], [5], [5]],
         "decoder_qkv_multiscales": [[], [], [], [], [], []],
         "decoder_conv_act_fn": "silu"}
        """);
  }

  private static DcAeConfig odd() {
    return of(
        """
        {"latent_channels": 4, "attention_head_dim": 8, "scaling_factor": 0.5,
         "downsample_block_type": "Conv", "upsample_block_type": "interpolate",
         "encoder_block_out_channels": [4, 16, 8], "decoder_block_out_channels": [4, 16, 8],
         "encoder_layers_per_block": [1, 1, 1], "decoder_layers_per_block": [1, 1, 1],
         "encoder_qkv_multiscales": [[], [], []], "decoder_qkv_multiscales": [[], [], []],
         "encoder_block_types": "ResBlock", "decoder_block_types": "ResBlock"}
        """);
  }

  private static DcAeConfig of(String json) {
    return DcAeConfig.fromJson(
        json.replaceFirst("\\{", "{\"_class_name\": \"AutoencoderDC\", \"in_channels\": 3,"),
        "test config");
  }
}
