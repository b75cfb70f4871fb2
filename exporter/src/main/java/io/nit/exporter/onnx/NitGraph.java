package io.nit.exporter.onnx;

import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_FLOAT;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_INT32;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_INT64;

import io.nit.core.config.NitConfig;
import io.nit.core.ops.NitOps;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.NitTensors;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.onnx.ModelProto;

/**
 * NiT as an ONNX graph, top to bottom as in the paper's figure. Token count, image count and every
 * image's size are dynamic:
 *
 * <pre>
 * x            float [tokens, C, p, p]        latents, the images of the pack one after the other
 * t            float [images]                 time, in [0, 1]
 * y            int64 [images]                 labels; numClasses is the null class
 * cu_seqlens   int32 [images_plus_1]          where each image's tokens begin; the last is tokens
 * image_index  int32 [tokens]                 the image that each token belongs to
 * rope_cos     float [tokens, head_dim]       rotary tables, io.nit.core.rope.Rope2d
 * rope_sin     float [tokens, head_dim]
 * v            float [tokens, C, p, p]        the velocity
 * </pre>
 *
 * <p>What a GPU fuses stands as nodes of the domain {@code ai.nit} ({@link NitOps}), each with a
 * local function of standard operators as its body ({@link NitFunctions}). The modulation is
 * computed per image and only gathered per token. Weights carry their checkpoint keys as names and
 * keep the checkpoint's layout, [out, in] for a Linear; those stored in 16 bits are cast to float,
 * once when the model is loaded, and all arithmetic is single precision. The REPA projector is left
 * out.
 *
 * <p>Legend: N tokens, B images, D hidden.
 */
public final class NitGraph extends OnnxGraph {
  private static final float LAYER_NORM_EPSILON = 1e-6f;
  private static final float QK_NORM_EPSILON = 1e-5f;
  private static final int TIME_FREQUENCIES = 128;
  private static final double MAX_PERIOD = 10_000;

  private final NitConfig config;

  /**
   * Lays the graph out.
   *
   * @param config the network
   * @param storage type that weights are stored in: F32, F16 or BF16
   * @throws IllegalArgumentException if {@code storage} is another type
   */
  public NitGraph(NitConfig config, DType storage) {
    super(storage, NitTensors.of(config, false));
    this.config = config;
    forward();
  }

  /** The network. */
  public NitConfig config() {
    return config;
  }

  @Override
  void require(TensorSource checkpoint) {
    NitTensors.require(config, checkpoint.specs(), checkpoint.where());
  }

  @Override
  Message model() {
    return new Message()
        .number(ModelProto.kIrVersionFieldNumber, IR_VERSION)
        .text(ModelProto.kProducerNameFieldNumber, "nit-export")
        .text(ModelProto.kDomainFieldNumber, NitOps.DOMAIN)
        .message(ModelProto.kOpsetImportFieldNumber, Onnx.opset("", OPSET))
        .message(ModelProto.kOpsetImportFieldNumber, Onnx.opset(NitOps.DOMAIN, NitOps.VERSION))
        .messages(ModelProto.kFunctionsFieldNumber, new NitFunctions(config, OPSET).all())
        .message(
            ModelProto.kMetadataPropsFieldNumber,
            Onnx.entry("nit.config", config.toNode().toString()))
        .message(ModelProto.kMetadataPropsFieldNumber, Onnx.entry("nit.weights", storage().name()));
  }

  @Override
  Message graph() {
    Object[] latent = {"tokens", config.inChannels(), config.patchSize(), config.patchSize()};
    return Onnx.graph(
        "NiT",
        nodes,
        List.of(
            Onnx.value("x", TensorProto_DataType_FLOAT, latent),
            Onnx.value("t", TensorProto_DataType_FLOAT, "images"),
            Onnx.value("y", TensorProto_DataType_INT64, "images"),
            Onnx.value("cu_seqlens", TensorProto_DataType_INT32, "images_plus_1"),
            Onnx.value("image_index", TensorProto_DataType_INT32, "tokens"),
            Onnx.value("rope_cos", TensorProto_DataType_FLOAT, "tokens", config.headDim()),
            Onnx.value("rope_sin", TensorProto_DataType_FLOAT, "tokens", config.headDim())),
        List.of(Onnx.value("v", TensorProto_DataType_FLOAT, latent)));
  }

  private void forward() {
    String x = patchEmbedding(); // [N, D]
    String c = silu("c", conditioning()); // [B, D]
    for (int i = 0; i < config.depth(); i++) {
      x = block("blocks." + i, x, c); // [N, D]
    }
    finalLayer(x, c); // [N, C, p, p]
  }

  /** The convolution with kernel = stride = p, as one product over the flattened token. */
  private String patchEmbedding() {
    nodes.longs("token_shape", -1, config.tokenSize());
    nodes.add("tokens", "Reshape", List.of("x", "token_shape"));
    String flat =
        weight("x_embedder.proj.weight", DType.F32, config.hiddenSize(), config.tokenSize());
    return gemm("x_embedder.proj", "tokens", flat);
  }

  /** Time and label: {@code MLP([cos(t·f), sin(t·f)]) + table[y]}. */
  private String conditioning() {
    float[] f = new float[TIME_FREQUENCIES];
    for (int i = 0; i < f.length; i++) {
      f[i] = (float) Math.exp(-Math.log(MAX_PERIOD) * i / TIME_FREQUENCIES);
    }
    nodes.constant("t_embedder.frequencies", Onnx.tensor(f, 1, TIME_FREQUENCIES));
    nodes.add("t_column", "Unsqueeze", List.of("t", nodes.longs("column_axis", 1)));
    nodes.add("t_embedder.angles", "Mul", List.of("t_column", "t_embedder.frequencies"));
    nodes.add("t_embedder.cos", "Cos", List.of("t_embedder.angles"));
    nodes.add("t_embedder.sin", "Sin", List.of("t_embedder.angles"));
    nodes.add("t_embedder.waves", "Concat", List.of("t_embedder.cos", "t_embedder.sin"), axis(1));
    String hidden = linear("t_embedder.mlp.0", "t_embedder.waves");
    String time = linear("t_embedder.mlp.2", silu("t_embedder.mlp.1", hidden));
    String label =
        nodes.add(
            "y_embedder",
            "Gather",
            List.of(weight("y_embedder.embedding_table.weight"), "y"),
            axis(0));
    return nodes.add("conditioning", "Add", List.of(time, label));
  }

  private String block(String name, String x, String c) {
    String m = c;
    m = linear(name + ".adaLN_modulation.1", m);
    if (config.useAdaLnLora()) {
      m = linear(name + ".adaLN_modulation.2", m);
    }
    List<String> cut = cut(name, m, "shift1", "scale1", "gate1", "shift2", "scale2", "gate2");

    String attended = attention(name + ".attn", adaLn(name + ".norm1", x, cut.get(0), cut.get(1)));
    x = gated(name + ".residual1", x, attended, cut.get(2));
    String mlp = mlp(name + ".mlp", adaLn(name + ".norm2", x, cut.get(3), cut.get(4)));
    return gated(name + ".residual2", x, mlp, cut.get(5));
  }

  private String attention(String name, String x) {
    Message heads = Onnx.attribute("num_heads", config.numHeads());
    Message headDim = Onnx.attribute("head_dim", config.headDim());
    List<String> inputs = new ArrayList<>();
    inputs.add(linear(name + ".qkv", x)); // [N, 3·D]
    inputs.add("rope_cos");
    inputs.add("rope_sin");
    if (config.qkNorm()) {
      for (String norm : List.of(".q_norm", ".k_norm")) {
        inputs.add(weight(name + norm + ".weight"));
        inputs.add(weight(name + norm + ".bias"));
      }
    }
    String turned =
        nodes.add(
            name + ".rope",
            NitOps.QK_NORM_ROPE_2D,
            inputs,
            heads,
            headDim,
            Onnx.attribute("qk_norm", config.qkNorm() ? 1L : 0L),
            Onnx.attribute("epsilon", QK_NORM_EPSILON));
    String attended =
        nodes.add(
            name + ".attention",
            NitOps.VARLEN_ATTENTION,
            List.of(turned, "cu_seqlens"),
            heads,
            headDim);
    return linear(name + ".proj", attended);
  }

  private String mlp(String name, String x) {
    String hidden = linear(name + ".fc1", x);
    nodes.add(name + ".act", "Gelu", List.of(hidden), Onnx.attribute("approximate", "tanh"));
    return linear(name + ".fc2", name + ".act");
  }

  private void finalLayer(String x, String c) {
    String m = linear("final_layer.adaLN_modulation.1", c);
    List<String> cut = cut("final_layer", m, "shift", "scale");
    String out = linear("final_layer.linear", adaLn("final_layer.norm", x, cut.get(0), cut.get(1)));
    nodes.longs("latent_shape", -1, config.inChannels(), config.patchSize(), config.patchSize());
    nodes.add("v", "Reshape", List.of(out, "latent_shape"));
  }

  private String adaLn(String name, String x, String shift, String scale) {
    return nodes.add(
        name,
        NitOps.PACKED_ADALN,
        List.of(x, shift, scale, "image_index"),
        Onnx.attribute("epsilon", LAYER_NORM_EPSILON));
  }

  private String gated(String name, String x, String y, String gate) {
    return nodes.add(name, NitOps.GATED_RESIDUAL, List.of(x, y, gate, "image_index"));
  }

  /** The modulation in equal parts of D. */
  private List<String> cut(String name, String modulation, String... parts) {
    List<String> outputs = new ArrayList<>();
    for (String part : parts) {
      outputs.add(name + ".modulation." + part);
    }
    nodes.add(
        outputs,
        "Split",
        List.of(modulation),
        axis(1),
        Onnx.attribute("num_outputs", parts.length));
    return outputs;
  }

  private String silu(String name, String x) {
    nodes.add(name + ".sigmoid", "Sigmoid", List.of(x));
    return nodes.add(name + ".silu", "Mul", List.of(x, name + ".sigmoid"));
  }

  /** x·Wᵀ + b. */
  private String linear(String name, String x) {
    return gemm(name, x, weight(name + ".weight"));
  }

  private String gemm(String name, String x, String weight) {
    return nodes.add(
        name, "Gemm", List.of(x, weight, weight(name + ".bias")), Onnx.attribute("transB", 1));
  }

  /** A weight in single precision. */
  private String weight(String key) {
    return weight(key, DType.F32);
  }
}
