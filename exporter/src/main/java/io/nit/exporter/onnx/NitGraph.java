package io.nit.exporter.onnx;

import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_FLOAT;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_INT32;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_INT64;

import io.nit.core.config.NitConfig;
import io.nit.core.ops.NitOps;
import io.nit.core.ops.PluginSpec;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.NitTensors;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
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
 * <p>{@link #forTensorRt} lays the same network out for engines.
 *
 * <p>Legend: N tokens, B images, D hidden.
 */
public final class NitGraph extends OnnxGraph {
  private static final float LAYER_NORM_EPSILON = 1e-6f;
  private static final float QK_NORM_EPSILON = 1e-5f;
  private static final int TIME_FREQUENCIES = 128;
  private static final double MAX_PERIOD = 10_000;
  private static final String MODULATION = "modulation";

  /** An activation of {@link NitOps#LINEAR}. */
  private static final long GELU_TANH = 1;

  private static final String FINAL_MODULATION = "final_layer.adaLN_modulation.1";

  /** Whom the graph is laid out for. */
  private enum Target {
    /** Every backend: our own nodes with a body each, arithmetic in single precision. */
    ONNX,
    /** TensorRT with our plugins: arithmetic in 16 bits, no bodies, the fused node. */
    PLUGINS,
    /** The modulations alone, which {@link #PLUGINS} takes as an input. */
    MODULATIONS,
    /** TensorRT without plugins: single precision, standard operators only. */
    STANDARD
  }

  /** Shifts, scales and gates of a place in the network: some of the parts of a tensor. */
  private final class Modulation {
    private final int first;
    private final List<String> parts;
    private final List<String> values;

    /** The whole of {@code modulation} [B, K·D], as K values of their own. */
    Modulation(String name, String modulation, String... parts) {
      this.first = 0;
      this.parts = List.of(parts);
      this.values = this.parts.stream().map(part -> name + ".modulation." + part).toList();
      nodes.add(
          values,
          "Split",
          List.of(modulation),
          axis(1),
          Onnx.attribute("num_outputs", parts.length));
    }

    /** Parts {@code first} and on of the network's input. */
    Modulation(int first, String... parts) {
      this.first = first;
      this.parts = List.of(parts);
      this.values = List.of();
    }

    Part part(String part) {
      return new Part(this, parts.indexOf(part));
    }
  }

  /** A shift, a scale or a gate. */
  private record Part(Modulation of, int index) {
    /** Where it stands in the network's input, in units of D columns. */
    long column() {
      return of.first + index;
    }

    /** As a value of its own, [B, D]. */
    String value() {
      return of.values.get(index);
    }
  }

  /** What waits to be added to the residual stream: {@code gate·y}. */
  private record Branch(String name, String y, Part gate) {}

  private final NitConfig config;
  private final Target target;
  private final DType compute;
  private final boolean ownLinears;
  private final NitFunctions functions;
  private String stream; // [N, D]
  private Branch branch;

  /**
   * Lays the graph out.
   *
   * @param config the network
   * @param storage type that weights are stored in: F32, F16 or BF16
   * @throws IllegalArgumentException if {@code storage} is another type
   */
  public NitGraph(NitConfig config, DType storage) {
    this(config, storage, DType.F32, Target.ONNX, false);
  }

  private NitGraph(
      NitConfig config, DType storage, DType compute, Target target, boolean ownLinears) {
    super(storage, NitTensors.of(config, false));
    this.config = config;
    this.target = target;
    this.compute = compute;
    this.ownLinears = ownLinears;
    this.functions = new NitFunctions(config, OPSET);
    if (target == Target.MODULATIONS) {
      modulations();
    } else {
      forward();
    }
  }

  /**
   * The same network laid out for TensorRT's strongly typed networks, where a value has the type
   * that the graph gives it.
   *
   * <p>In 16 bits our nodes stand without bodies and with the attributes that make plugins of them,
   * and each gated residual is one node with the norm that follows ({@link NitOps#GATED_ADALN}).
   * What depends on time and label alone is a network of its own, {@link #modulations}: in place of
   * {@code t}, {@code y} and {@code image_index} there are
   *
   * <pre>
   * modulation      T [rows, (6·depth + 2)·D]   a table of modulations
   * modulation_row  int32 [tokens]              each token's row of it
   * </pre>
   *
   * <p>In single precision, which the plugins do not compute, inputs and output are those of the
   * exported file, there are standard operators only, and attention works on all pairs of the
   * pack's tokens.
   *
   * @param compute type of the arithmetic and of the weights: F32, F16 or BF16
   * @throws IllegalArgumentException if {@code compute} is another type
   */
  public static NitGraph forTensorRt(NitConfig config, DType compute) {
    return new NitGraph(
        config, compute, compute, compute == DType.F32 ? Target.STANDARD : Target.PLUGINS, false);
  }

  /**
   * The 16-bit network of {@link #forTensorRt} in which the linear layers of the blocks' attention
   * and MLP are nodes of ours too ({@link NitOps#LINEAR}), GELU in the node before it, and norm and
   * rotation of q and k in the node that makes them where it takes such heads ({@link
   * NitOps#QKV_LINEAR}). Weights, inputs and output are the same.
   *
   * @param compute F16 or BF16
   * @throws IllegalArgumentException if {@code compute} is another type
   */
  public static NitGraph smallPacksForTensorRt(NitConfig config, DType compute) {
    if (compute == DType.F32) {
      throw new IllegalArgumentException("our linear layers: expected f16 or bf16, found f32");
    }
    return new NitGraph(config, compute, compute, Target.PLUGINS, true);
  }

  /**
   * The exported network in which the same linear layers are nodes of ours, with a body each: what
   * proves the bodies and the network of {@link #smallPacksForTensorRt} in any backend.
   *
   * @param storage type that weights are stored in: F32, F16 or BF16
   * @throws IllegalArgumentException if {@code storage} is another type
   */
  public static NitGraph withOwnLinears(NitConfig config, DType storage) {
    return new NitGraph(config, storage, DType.F32, Target.ONNX, true);
  }

  /**
   * The modulations of every block and of the final layer, for a 16-bit network of {@link
   * #forTensorRt}: from {@code t} float [rows] and {@code y} int64 [rows] to {@code modulation}
   * [rows, (6·depth + 2)·D]. A third of the weights of NiT-XL stand here; times and labels are
   * known before a picture's first step, so that one pass over these weights serves all of its
   * steps. The embedding of times and labels is computed in single precision.
   *
   * @param compute F16 or BF16
   */
  public static NitGraph modulations(NitConfig config, DType compute) {
    return new NitGraph(config, compute, compute, Target.MODULATIONS, false);
  }

  /** Whether the network takes the table that {@link #modulations} fills. */
  public boolean takesModulations() {
    return target == Target.PLUGINS;
  }

  /** How many nodes of each plugin a TensorRT engine of this graph must hold; may be empty. */
  public Map<String, Integer> plugins() {
    return Map.copyOf(nodes.own());
  }

  /** The network. */
  public NitConfig config() {
    return config;
  }

  /** A cast of weights would be folded into an engine, and they could not be exchanged later. */
  @Override
  DType stored(DType compute) {
    return target == Target.ONNX ? super.stored(compute) : compute;
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
        .messages(
            ModelProto.kFunctionsFieldNumber,
            target == Target.ONNX ? functions.all(ownLinears) : List.of())
        .message(
            ModelProto.kMetadataPropsFieldNumber,
            Onnx.entry("nit.config", config.toNode().toString()))
        .message(ModelProto.kMetadataPropsFieldNumber, Onnx.entry("nit.weights", storage().name()));
  }

  @Override
  Message graph() {
    Message modulation =
        Onnx.value(MODULATION, Onnx.elementType(compute), "rows", modulationColumns());
    if (target == Target.MODULATIONS) {
      return Onnx.graph(
          "NiT modulations",
          nodes,
          List.of(
              Onnx.value("t", TensorProto_DataType_FLOAT, "rows"),
              Onnx.value("y", TensorProto_DataType_INT64, "rows")),
          List.of(modulation));
    }
    Object[] latent = {"tokens", config.inChannels(), config.patchSize(), config.patchSize()};
    List<Message> inputs = new ArrayList<>();
    inputs.add(Onnx.value("x", TensorProto_DataType_FLOAT, latent));
    if (takesModulations()) {
      inputs.add(modulation);
    } else {
      inputs.add(Onnx.value("t", TensorProto_DataType_FLOAT, "images"));
      inputs.add(Onnx.value("y", TensorProto_DataType_INT64, "images"));
    }
    inputs.add(Onnx.value("cu_seqlens", TensorProto_DataType_INT32, "images_plus_1"));
    inputs.add(Onnx.value(rowOfToken(), TensorProto_DataType_INT32, "tokens"));
    inputs.add(Onnx.value("rope_cos", TensorProto_DataType_FLOAT, "tokens", config.headDim()));
    inputs.add(Onnx.value("rope_sin", TensorProto_DataType_FLOAT, "tokens", config.headDim()));
    return Onnx.graph(
        "NiT", nodes, inputs, List.of(Onnx.value("v", TensorProto_DataType_FLOAT, latent)));
  }

  /** The input that says which row of the modulations a token takes. */
  private String rowOfToken() {
    return target == Target.PLUGINS ? "modulation_row" : "image_index";
  }

  private void forward() {
    if (target == Target.STANDARD) {
      sameImage(); // [N, N]
    }
    stream = patchEmbedding(); // [N, D]
    String c = target == Target.PLUGINS ? "" : silu("c", conditioning()); // [B, D]
    for (int i = 0; i < config.depth(); i++) {
      block(i, c); // [N, D]
    }
    finalLayer(c); // [N, C, p, p]
  }

  /** All that {@link #forward} takes from a table where it has one. */
  private void modulations() {
    String c = as(compute, silu("c", conditioning())); // [B, D]
    if (config.useAdaLnLora()) {
      List<String> all = new ArrayList<>();
      for (int i = 0; i < config.depth(); i++) {
        all.add(blockModulation("blocks." + i, c)); // [B, 6·D]
      }
      all.add(linear(FINAL_MODULATION, c)); // [B, 2·D]
      nodes.add(MODULATION, "Concat", all, axis(1));
      return;
    }
    // One product: TensorRT 10.6 runs products of one input as one, and lays their results behind
    // one another in the reverse of the order that a Concat asks for.
    List<String> layers = new ArrayList<>();
    for (int i = 0; i < config.depth(); i++) {
      layers.add("blocks." + i + ".adaLN_modulation.1");
    }
    layers.add(FINAL_MODULATION);
    String weight = joined(layers, ".weight", modulationColumns(), config.hiddenSize());
    String bias = joined(layers, ".bias", modulationColumns());
    nodes.add(MODULATION, "Gemm", List.of(c, weight, bias), Onnx.attribute("transB", 1));
  }

  /** Weights or biases of layers with the same input, as those of one layer. */
  private String joined(List<String> layers, String kind, long... dims) {
    List<String> parts = layers.stream().map(layer -> layer + kind).toList();
    return weight("adaLN_modulation" + kind, parts, compute, dims);
  }

  private long modulationColumns() {
    return (long) config.modulationParts() * config.hiddenSize();
  }

  /** The convolution with kernel = stride = p, as one product over the flattened token. */
  private String patchEmbedding() {
    nodes.longs("token_shape", -1, config.tokenSize());
    // Cast, then reshaped: the other way round TensorRT 10.6 finds no kernel for small channel
    // counts in an engine for several kinds of GPUs.
    nodes.add("tokens", "Reshape", List.of(as(compute, "x"), "token_shape"));
    String flat =
        weight("x_embedder.proj.weight", compute, config.hiddenSize(), config.tokenSize());
    return gemm("x_embedder.proj", "tokens", flat, compute);
  }

  /** Which tokens belong to one image. */
  private void sameImage() {
    nodes.add("image_of_row", "Unsqueeze", List.of("image_index", nodes.longs("row_axis", 1)));
    nodes.add(
        "image_of_column", "Unsqueeze", List.of("image_index", nodes.longs("column_axis_0", 0)));
    nodes.add("same_image", "Equal", List.of("image_of_row", "image_of_column"));
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
    String hidden = linear("t_embedder.mlp.0", "t_embedder.waves", DType.F32);
    String time = linear("t_embedder.mlp.2", silu("t_embedder.mlp.1", hidden), DType.F32);
    String label =
        nodes.add(
            "y_embedder",
            "Gather",
            List.of(weight("y_embedder.embedding_table.weight", DType.F32), "y"),
            axis(0));
    return nodes.add("conditioning", "Add", List.of(time, label));
  }

  private void block(int i, String c) {
    String name = "blocks." + i;
    String[] parts = {"shift1", "scale1", "gate1", "shift2", "scale2", "gate2"};
    Modulation cut =
        target == Target.PLUGINS
            ? new Modulation(i * parts.length, parts)
            : new Modulation(name, blockModulation(name, c), parts);
    String attended =
        attention(name + ".attn", adaLn(name + ".norm1", cut.part("shift1"), cut.part("scale1")));
    gated(name + ".residual1", attended, cut.part("gate1"));
    String mlp = mlp(name + ".mlp", adaLn(name + ".norm2", cut.part("shift2"), cut.part("scale2")));
    gated(name + ".residual2", mlp, cut.part("gate2"));
  }

  private String blockModulation(String name, String c) {
    String m = linear(name + ".adaLN_modulation.1", c);
    return config.useAdaLnLora() ? linear(name + ".adaLN_modulation.2", m) : m;
  }

  private String attention(String name, String x) {
    Message heads = Onnx.attribute("num_heads", config.numHeads());
    Message headDim = Onnx.attribute("head_dim", config.headDim());
    boolean joined = ownLinears && NitOps.joinsHeads(config.numHeads(), config.headDim());
    List<String> inputs = new ArrayList<>();
    if (joined) {
      inputs.addAll(layer(name + ".qkv", x));
    } else {
      inputs.add(blockLinear(name + ".qkv", x, 0)); // [N, 3·D]
    }
    inputs.add("rope_cos");
    inputs.add("rope_sin");
    if (config.qkNorm()) {
      for (String norm : List.of(".q_norm", ".k_norm")) {
        inputs.add(weight(name + norm + ".weight", compute));
        inputs.add(weight(name + norm + ".bias", compute));
      }
    }
    String turned =
        own(
            name + ".rope",
            joined ? NitOps.QKV_LINEAR : NitOps.QK_NORM_ROPE_2D,
            inputs,
            QK_NORM_EPSILON,
            heads,
            headDim,
            Onnx.attribute("qk_norm", config.qkNorm() ? 1L : 0L),
            Onnx.attribute("epsilon", QK_NORM_EPSILON));
    String attended;
    if (target == Target.STANDARD) {
      attended = name + ".attention";
      functions.maskedAttention(
          nodes.within(
              attended, Map.of("qkv", turned, "same_image", "same_image", "out", attended)));
    } else {
      attended =
          own(
              name + ".attention",
              NitOps.VARLEN_ATTENTION,
              List.of(turned, "cu_seqlens"),
              0,
              heads,
              headDim);
    }
    return blockLinear(name + ".proj", attended, 0);
  }

  private String mlp(String name, String x) {
    return blockLinear(name + ".fc2", blockLinear(name + ".fc1", x, GELU_TANH), 0);
  }

  /** The inputs of a linear layer of ours. */
  private List<String> layer(String name, String x) {
    return List.of(x, weight(name + ".weight", compute), weight(name + ".bias", compute));
  }

  /** A linear layer of a block's attention or MLP, and its activation. */
  private String blockLinear(String name, String x, long activation) {
    if (ownLinears) {
      return own(name, NitOps.LINEAR, layer(name, x), 0, Onnx.attribute("activation", activation));
    }
    String product = linear(name, x);
    if (activation != GELU_TANH) {
      return product;
    }
    String activated = name.substring(0, name.lastIndexOf('.')) + ".act";
    return nodes.add(activated, "Gelu", List.of(product), Onnx.attribute("approximate", "tanh"));
  }

  private void finalLayer(String c) {
    String[] parts = {"shift", "scale"};
    Modulation cut =
        target == Target.PLUGINS
            ? new Modulation(config.modulationParts() - parts.length, parts)
            : new Modulation("final_layer", linear(FINAL_MODULATION, c), parts);
    String out =
        linear(
            "final_layer.linear", adaLn("final_layer.norm", cut.part("shift"), cut.part("scale")));
    nodes.longs("latent_shape", -1, config.inChannels(), config.patchSize(), config.patchSize());
    nodes.add("v", "Reshape", List.of(as(DType.F32, out), "latent_shape"));
  }

  /** The residual stream's norm, together with the branch that waits for it, if there is one. */
  private String adaLn(String name, Part shift, Part scale) {
    Message epsilon = Onnx.attribute("epsilon", LAYER_NORM_EPSILON);
    String row = rowOfToken();
    if (target != Target.PLUGINS) {
      return own(
          name,
          NitOps.PACKED_ADALN,
          List.of(stream, shift.value(), scale.value(), row),
          LAYER_NORM_EPSILON,
          epsilon);
    }
    if (branch == null) {
      return own(
          name,
          NitOps.PACKED_ADALN,
          List.of(stream, column(name + ".shift", shift), column(name + ".scale", scale), row),
          LAYER_NORM_EPSILON,
          epsilon);
    }
    nodes.add(
        List.of(branch.name, name),
        NitOps.GATED_ADALN,
        List.of(stream, branch.y, MODULATION, MODULATION, MODULATION, row),
        pluginAttributes(
            epsilon,
            Onnx.attribute("gate_at", branch.gate.column()),
            Onnx.attribute("shift_at", shift.column()),
            Onnx.attribute("scale_at", scale.column())));
    stream = branch.name;
    branch = null;
    return name;
  }

  /** A part of the table as a tensor of its own: only the first norm, which no branch joins. */
  private String column(String name, Part part) {
    long from = part.column() * config.hiddenSize();
    return nodes.add(
        name,
        "Slice",
        List.of(
            MODULATION,
            nodes.longs(name + ".from", from),
            nodes.longs(name + ".to", from + config.hiddenSize()),
            nodes.longs(name + ".axis", 1)));
  }

  /** Adds {@code gate·y} to the residual stream: now, or together with the norm that follows. */
  private void gated(String name, String y, Part gate) {
    if (target == Target.PLUGINS) {
      branch = new Branch(name, y, gate);
    } else {
      stream = own(name, NitOps.GATED_RESIDUAL, List.of(stream, y, gate.value(), rowOfToken()), 0);
    }
  }

  /** One of our own nodes, or its body where there are standard operators only. */
  private String own(
      String name, PluginSpec op, List<String> inputs, float epsilon, Message... attributes) {
    if (target != Target.STANDARD) {
      nodes.add(List.of(name), op, inputs, pluginAttributes(attributes));
      return name;
    }
    Map<String, String> bound = new HashMap<>();
    for (int i = 0; i < inputs.size(); i++) {
      bound.put(op.inputs().get(i).name(), inputs.get(i));
    }
    bound.put(op.outputs().get(0).name(), name);
    functions.body(op, nodes.within(name, bound), Onnx.attribute("value_float", epsilon));
    return name;
  }

  /** A node's own attributes, and what makes a plugin of it. */
  private List<Message> pluginAttributes(Message... attributes) {
    List<Message> all = new ArrayList<>(List.of(attributes));
    if (target == Target.PLUGINS) {
      all.add(Onnx.attribute("plugin_version", Integer.toString(NitOps.VERSION)));
      all.add(Onnx.attribute("plugin_namespace", NitOps.DOMAIN));
    }
    return all;
  }

  private String silu(String name, String x) {
    nodes.add(name + ".sigmoid", "Sigmoid", List.of(x));
    return nodes.add(name + ".silu", "Mul", List.of(x, name + ".sigmoid"));
  }

  /** x·Wᵀ + b. */
  private String linear(String name, String x) {
    return linear(name, x, compute);
  }

  private String linear(String name, String x, DType type) {
    return gemm(name, x, weight(name + ".weight", type), type);
  }

  private String gemm(String name, String x, String weight, DType type) {
    return nodes.add(
        name,
        "Gemm",
        List.of(x, weight, weight(name + ".bias", type)),
        Onnx.attribute("transB", 1));
  }

  /** A single-precision value in another type, or the other way round. */
  private String as(DType type, String value) {
    return compute == DType.F32
        ? value
        : nodes.add(
            value + "." + type.name().toLowerCase(Locale.ROOT),
            "Cast",
            List.of(value),
            Onnx.attribute("to", Onnx.elementType(type)));
  }
}
