package io.nit.testing;

import io.nit.core.config.DcAeConfig;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Collections;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.TreeSet;

/**
 * A DC-AE checkpoint whose values follow from a formula, by which the golden numbers of {@code
 * golden/dcae} were made: nothing is downloaded, and no file is needed. Values are made when they
 * are asked for.
 */
public final class GeneratedDcAe implements TensorSource {
  private static final int IMAGE = 1000;
  private static final int LATENT = 1001;

  private final Map<String, TensorSpec> specs;
  private final Map<String, Integer> numbers = new HashMap<>();

  /** The tensors of a config. */
  public GeneratedDcAe(DcAeConfig config) {
    specs = Collections.unmodifiableMap(new LinkedHashMap<>(DcAeTensors.of(config)));
    for (String name : new TreeSet<>(specs.keySet())) {
      numbers.put(name, numbers.size());
    }
  }

  /** A small member of the family, factor 8: both block types, both kinds of transition. */
  public static DcAeConfig small() {
    return DcAeConfig.fromJson(
        """
        {"_class_name": "AutoencoderDC", "in_channels": 3, "latent_channels": 8,
         "attention_head_dim": 8, "downsample_block_type": "Conv",
         "upsample_block_type": "interpolate", "scaling_factor": 0.5,
         "encoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
         "decoder_block_types": ["ResBlock", "ResBlock", "EfficientViTBlock", "EfficientViTBlock"],
         "encoder_block_out_channels": [8, 16, 16, 32],
         "decoder_block_out_channels": [8, 16, 16, 32],
         "encoder_layers_per_block": [1, 1, 1, 1], "decoder_layers_per_block": [1, 1, 1, 1],
         "encoder_qkv_multiscales": [[], [], [5], [5]],
         "decoder_qkv_multiscales": [[], [], [5], [5]]}
        """,
        "small");
  }

  /** A picture, [3, height, width] in [-1, 1). */
  public static float[] image(int height, int width) {
    float[] values = new float[3 * height * width];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (2 * uniform(IMAGE, i) - 1);
    }
    return values;
  }

  /** A latent before scaling, [channels, h, w] in [-1.5, 1.5). */
  public static float[] latent(int channels, int h, int w) {
    float[] values = new float[channels * h * w];
    for (int i = 0; i < values.length; i++) {
      values[i] = (float) (1.5 * (2 * uniform(LATENT, i) - 1));
    }
    return values;
  }

  private static int mix(int x) {
    x ^= x >>> 16;
    x *= 0x7feb352d;
    x ^= x >>> 15;
    x *= 0x846ca68b;
    return x ^ x >>> 16;
  }

  private static double uniform(int tensor, int element) {
    return (mix(element + mix(tensor + 0x9E3779B9)) >>> 8) * 0x1p-24;
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return specs;
  }

  @Override
  public Map<String, String> metadata() {
    return Map.of("format", "pt");
  }

  @Override
  public HostTensor tensor(String name) {
    TensorSpec spec = specs.get(name);
    if (spec == null) {
      throw new IllegalArgumentException("no tensor " + name + " in " + where());
    }
    if (spec.dtype() == DType.I64) {
      return HostTensor.of(name, new long[] {1}, spec.shape().dims());
    }
    int count = Math.toIntExact(spec.shape().elements());
    int number = numbers.get(name);
    double spread = spec.shape().rank() < 2 ? 0 : Math.sqrt(3.0 * spec.shape().dim(0) / count);
    ByteBuffer data = ByteBuffer.allocate(4 * count).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      double u = uniform(number, i);
      double value =
          name.endsWith(".bias")
              ? 0.1 * (2 * u - 1)
              : spec.shape().rank() == 1 ? 0.25 + 0.5 * u : (2 * u - 1) * spread;
      data.putFloat((float) value);
    }
    return new HostTensor(spec, data.flip());
  }

  /**
   * Writes the checkpoint in diffusers' folder layout.
   *
   * @return the folder
   */
  public static Path write(Path folder, DcAeConfig config) throws IOException {
    Files.createDirectories(folder);
    Files.writeString(folder.resolve(DcAeConfig.FILE), config.toNode().toPrettyString());
    GeneratedDcAe weights = new GeneratedDcAe(config);
    SafetensorsWriter writer = new SafetensorsWriter();
    weights.specs.forEach((name, spec) -> writer.add(spec, () -> weights.tensor(name).bytes()));
    writer.write(folder.resolve("diffusion_pytorch_model.safetensors"));
    return folder;
  }

  @Override
  public String where() {
    return "generated DC-AE weights";
  }

  @Override
  public void close() {}
}
