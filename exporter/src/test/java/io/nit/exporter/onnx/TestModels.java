package io.nit.exporter.onnx;

import io.nit.core.config.NitConfig;
import java.util.Map;

/** Small configs that between them take every path of the graph. */
public final class TestModels {
  /** Two blocks of width 48, headDim 24. */
  public static final NitConfig TINY =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size", 48,
                  "depth", 2,
                  "num_heads", 2,
                  "in_channels", 4,
                  "num_classes", 5,
                  "encoder_depth", 1,
                  "projector_dim", 20,
                  "z_dim", 12));

  private TestModels() {}

  /** TINY with one thing changed. */
  public static NitConfig variant(String name) {
    return switch (name) {
      case "plain" -> TINY;
      case "patch2" -> TINY.with(Map.of("patch_size", 2));
      case "no_qk_norm" -> TINY.with(Map.of("qk_norm", false));
      case "adaln_lora" -> TINY.with(Map.of("use_adaln_lora", true, "adaln_lora_dim", 8));
      case "head_dim72" -> TINY.with(Map.of("hidden_size", 144));
      case "head_dim64" -> TINY.with(Map.of("hidden_size", 128));
      case "no_null_class" -> TINY.with(Map.of("class_dropout_prob", 0.0));
      default -> throw new IllegalArgumentException(name);
    };
  }
}
