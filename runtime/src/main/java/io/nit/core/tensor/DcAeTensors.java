package io.nit.core.tensor;

import io.nit.core.config.DcAeConfig;
import io.nit.core.config.DcAeConfig.Block;
import io.nit.core.config.DcAeConfig.Norm;
import io.nit.core.config.DcAeConfig.Stage;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Every tensor of a DC-AE checkpoint in diffusers' naming, in the order of its modules: the one
 * list that training, export and loading check a file against. Decoder stages are stored in the
 * encoder's order, although they run from the last to the first.
 */
public final class DcAeTensors {
  private DcAeTensors() {}

  /** Names, types and shapes of encoder and decoder together. */
  public static Map<String, TensorSpec> of(DcAeConfig config) {
    Map<String, TensorSpec> all = encoder(config);
    all.putAll(decoder(config));
    return all;
  }

  /** Names, types and shapes of the encoder's tensors. */
  public static Map<String, TensorSpec> encoder(DcAeConfig config) {
    Builder b = new Builder(config.attentionHeadDim());
    List<Stage> stages = config.encoder();
    int first = config.firstEncoderStage();
    if (first == 0) {
      b.conv("encoder.conv_in", DcAeConfig.IN_CHANNELS, stages.get(0).channels());
    } else {
      b.conv(
          "encoder.conv_in.conv",
          DcAeConfig.IN_CHANNELS,
          stages.get(1).channels() / (config.pixelUnshuffle() ? 4 : 1));
    }
    for (int i = first; i < stages.size(); i++) {
      Stage stage = stages.get(i);
      String prefix = "encoder.down_blocks." + i + ".";
      for (int j = 0; j < stage.layers(); j++) {
        b.block(prefix + j, stage);
      }
      if (i + 1 < stages.size()) {
        int out = stages.get(i + 1).channels() / (config.pixelUnshuffle() ? 4 : 1);
        b.conv(prefix + stage.layers() + ".conv", stage.channels(), out);
      }
    }
    b.conv("encoder.conv_out", config.encoderWidth(), config.latentChannels());
    return b.specs;
  }

  /** Names, types and shapes of the decoder's tensors. */
  public static Map<String, TensorSpec> decoder(DcAeConfig config) {
    Builder b = new Builder(config.attentionHeadDim());
    List<Stage> stages = config.decoder();
    int first = config.firstDecoderStage();
    int shuffle = config.interpolate() ? 1 : 4;
    b.conv("decoder.conv_in", config.latentChannels(), config.decoderWidth());
    for (int i = first; i < stages.size(); i++) {
      Stage stage = stages.get(i);
      String prefix = "decoder.up_blocks." + i + ".";
      int at = 0;
      if (i + 1 < stages.size()) {
        b.conv(prefix + "0.conv", stages.get(i + 1).channels(), stage.channels() * shuffle);
        at = 1;
      }
      for (int j = 0; j < stage.layers(); j++) {
        b.block(prefix + (at + j), stage);
      }
    }
    int width = stages.get(first).channels();
    b.norm("decoder.norm_out", width, Norm.RMS_NORM);
    if (first == 0) {
      b.conv("decoder.conv_out", width, DcAeConfig.IN_CHANNELS);
    } else {
      b.conv("decoder.conv_out.conv", width, DcAeConfig.IN_CHANNELS * shuffle);
    }
    return b.specs;
  }

  /** Number of parameters; running statistics of batch norms are none. */
  public static long parameters(DcAeConfig config) {
    return of(config).values().stream()
        .filter(spec -> !isStatistic(spec.name()))
        .mapToLong(spec -> spec.shape().elements())
        .sum();
  }

  /** Whether a tensor is a running statistic of a batch norm. */
  public static boolean isStatistic(String name) {
    return name.contains(".running_") || name.endsWith(".num_batches_tracked");
  }

  /**
   * Checks that a file holds exactly a config's tensors.
   *
   * @throws IllegalArgumentException naming every tensor that does not fit, with what was expected
   *     and found
   */
  public static void require(DcAeConfig config, Map<String, TensorSpec> found, String where) {
    TensorDifferences.require(TensorDifferences.of(of(config), found, where), where);
  }

  private static final class Builder {
    private final long headDim;
    private final Map<String, TensorSpec> specs = new LinkedHashMap<>();

    Builder(long headDim) {
      this.headDim = headDim;
    }

    private void add(String name, DType type, long... dims) {
      specs.put(name, new TensorSpec(name, type, Shape.of(dims)));
    }

    private void add(String name, long... dims) {
      add(name, DType.F32, dims);
    }

    /** A 3×3 convolution with bias. */
    void conv(String name, long in, long out) {
      add(name + ".weight", out, in, 3, 3);
      add(name + ".bias", out);
    }

    void norm(String name, long channels, Norm norm) {
      add(name + ".weight", channels);
      add(name + ".bias", channels);
      if (norm == Norm.BATCH_NORM) {
        add(name + ".running_mean", channels);
        add(name + ".running_var", channels);
        add(name + ".num_batches_tracked", DType.I64);
      }
    }

    void block(String name, Stage stage) {
      if (stage.block() == Block.RES_BLOCK) {
        resBlock(name, stage.channels(), stage.norm());
      } else {
        efficientViT(name, stage.channels(), stage.multiscales());
      }
    }

    private void resBlock(String name, long c, Norm norm) {
      conv(name + ".conv1", c, c);
      add(name + ".conv2.weight", c, c, 3, 3);
      norm(name + ".norm", c, norm);
    }

    private void efficientViT(String name, long c, List<Integer> multiscales) {
      String attn = name + ".attn.";
      for (String part : List.of("to_q", "to_k", "to_v")) {
        add(attn + part + ".weight", c, c);
      }
      for (int i = 0; i < multiscales.size(); i++) {
        long k = multiscales.get(i);
        add(attn + "to_qkv_multiscale." + i + ".proj_in.weight", 3 * c, 1, k, k);
        add(attn + "to_qkv_multiscale." + i + ".proj_out.weight", 3 * c, headDim, 1, 1);
      }
      add(attn + "to_out.weight", c, c * (1 + multiscales.size()));
      norm(attn + "norm_out", c, Norm.RMS_NORM);
      String glu = name + ".conv_out.";
      add(glu + "conv_inverted.weight", 8 * c, c, 1, 1);
      add(glu + "conv_inverted.bias", 8 * c);
      add(glu + "conv_depth.weight", 8 * c, 1, 3, 3);
      add(glu + "conv_depth.bias", 8 * c);
      add(glu + "conv_point.weight", c, 4 * c, 1, 1);
      norm(glu + "norm", c, Norm.RMS_NORM);
    }
  }
}
