package io.nit.exporter.onnx;

import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_FLOAT;

import io.nit.core.config.DcAeConfig;
import io.nit.core.config.DcAeConfig.Activation;
import io.nit.core.config.DcAeConfig.Block;
import io.nit.core.config.DcAeConfig.Norm;
import io.nit.core.config.DcAeConfig.Stage;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.TensorDifferences;
import io.nit.core.tensor.TensorSpec;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import org.bytedeco.onnx.ModelProto;

/**
 * One half of a DC-AE as an ONNX graph. Batch, height and width are dynamic; f is the config's
 * factor, and the encoder's height and width must be multiples of it:
 *
 * <pre>
 * encoder: rgb     float [batch, 3, height, width]                 in [-1, 1]
 *       -> latent  float [batch, C, latent_height, latent_width]
 * decoder: latent  float [batch, C, latent_height, latent_width]
 *       -> rgb     float [batch, 3, height, width]                 about [-1, 1], not clamped
 * </pre>
 *
 * <p>Neither half applies the scaling factor. Nodes are named after the checkpoint's modules, the
 * output of a module being the tensor of its name. Standard operators only. Shortcuts across a
 * change of resolution stand in the closed forms of their channel order, as ONNX's SpaceToDepth
 * orders channels in another way; attention is the linear form at every size, in which the two
 * forms agree, so that no size is frozen into the graph.
 *
 * <p>A decoder may compute in half precision. What overflows or cancels there stays in single: the
 * normalisations, and the attention from its ReLU to its division, whose 1e-15 half precision does
 * not have. Inputs and outputs are float then too.
 *
 * <p>{@link #forTensorRt} lays the same network out for engines.
 *
 * <p>Legend: B batch, C channels, H and W the stage's size, N = H·W, d headDim, P pseudo-heads.
 */
public final class DcAeGraph extends OnnxGraph {
  /** The halves of an autoencoder. */
  public enum Part {
    /** Pictures to latents. */
    ENCODER,
    /** Latents to pictures. */
    DECODER;

    /** As file and graph names spell it. */
    public String key() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /** The first operator set whose convolutions and pooling have bf16, in which only engines are. */
  private static final int BF16_OPSET = 22;

  private static final float NORM_EPSILON = 1e-5f;
  private static final float ATTENTION_EPSILON = 1e-15f;

  private final DcAeConfig config;
  private final Part part;
  private final DType compute;
  private final boolean forTensorRt;

  /**
   * Lays the graph out.
   *
   * @param config the autoencoder
   * @param part which half
   * @param storage type that weights are stored in: F32, F16 or BF16
   * @param compute type of the arithmetic: F32, or F16 for a decoder
   * @throws IllegalArgumentException if a type is another
   */
  public DcAeGraph(DcAeConfig config, Part part, DType storage, DType compute) {
    this(config, part, storage, required(part, compute), false);
  }

  private DcAeGraph(
      DcAeConfig config, Part part, DType storage, DType compute, boolean forTensorRt) {
    super(storage, tensors(config, part));
    this.config = config;
    this.part = part;
    this.compute = compute;
    this.forTensorRt = forTensorRt;
    if (part == Part.ENCODER) {
      encoder();
    } else {
      decoder();
    }
  }

  /**
   * The same network with the same input and output, laid out for TensorRT's strongly typed
   * networks, where a value has the type that the graph gives it and the weights of a convolution
   * are weights, never something computed: each is stored in the type that it is used in, and those
   * of queries, keys and values as one. In 16 bits both halves keep normalisations and attention in
   * single precision, as a decoder in half precision does; in bf16 also the convolutions in groups
   * and the resizing, which TensorRT has no bf16 kernels for.
   *
   * @param precision type of the arithmetic and of the weights: F32, F16 or BF16
   */
  public static DcAeGraph forTensorRt(DcAeConfig config, Part part, DType precision) {
    return new DcAeGraph(config, part, precision, precision, true);
  }

  private static DType required(Part part, DType compute) {
    if (compute != DType.F32 && (compute != DType.F16 || part == Part.ENCODER)) {
      throw new IllegalArgumentException(
          part.key()
              + ": expected to compute in F32"
              + (part == Part.DECODER ? " or F16" : "")
              + ", found "
              + compute);
    }
    return compute;
  }

  private static Map<String, TensorSpec> tensors(DcAeConfig config, Part part) {
    return part == Part.ENCODER ? DcAeTensors.encoder(config) : DcAeTensors.decoder(config);
  }

  /** Type of the arithmetic. */
  public DType compute() {
    return compute;
  }

  /** For TensorRT none is cast: a convolution's must be weights and nothing computed. */
  @Override
  DType stored(DType compute) {
    return forTensorRt ? compute : super.stored(compute);
  }

  @Override
  void require(TensorSource checkpoint) {
    if (!forTensorRt) {
      DcAeTensors.require(config, checkpoint.specs(), checkpoint.where());
      return;
    }
    // One half alone may be there: an exported file has its own weights only, and no counters.
    Map<String, TensorSpec> expected = tensors(config, part);
    expected.keySet().removeIf(name -> name.endsWith(".num_batches_tracked"));
    Map<String, TensorSpec> found = new LinkedHashMap<>(checkpoint.specs());
    found
        .keySet()
        .removeIf(name -> !name.startsWith(part.key()) || name.endsWith(".num_batches_tracked"));
    TensorDifferences.require(
        TensorDifferences.of(expected, found, checkpoint.where()), checkpoint.where());
  }

  @Override
  Message model() {
    return new Message()
        .number(ModelProto.kIrVersionFieldNumber, IR_VERSION)
        .text(ModelProto.kProducerNameFieldNumber, "nit-export")
        .message(
            ModelProto.kOpsetImportFieldNumber,
            Onnx.opset("", compute == DType.BF16 ? BF16_OPSET : OPSET))
        .message(
            ModelProto.kMetadataPropsFieldNumber,
            Onnx.entry("dc-ae.config", config.toNode().toString()))
        .message(
            ModelProto.kMetadataPropsFieldNumber, Onnx.entry("dc-ae.weights", storage().name()))
        .message(ModelProto.kMetadataPropsFieldNumber, Onnx.entry("dc-ae.compute", compute.name()));
  }

  @Override
  Message graph() {
    Message rgb =
        Onnx.value(
            "rgb", TensorProto_DataType_FLOAT, "batch", DcAeConfig.IN_CHANNELS, "height", "width");
    Message latent =
        Onnx.value(
            "latent",
            TensorProto_DataType_FLOAT,
            "batch",
            config.latentChannels(),
            "latent_height",
            "latent_width");
    boolean encodes = part == Part.ENCODER;
    return Onnx.graph(
        "DC-AE " + part.key(),
        nodes,
        List.of(encodes ? rgb : latent),
        List.of(encodes ? latent : rgb));
  }

  // ------------------------------------------------------------------ the halves

  private void encoder() {
    List<Stage> stages = config.encoder();
    int first = config.firstEncoderStage();
    String rgb = computed("rgb.compute", "rgb");
    String x =
        first == 0
            ? conv("encoder.conv_in", rgb, 1, 1) // [B, C, H, W]
            : down("encoder.conv_in", rgb, DcAeConfig.IN_CHANNELS, stages.get(1).channels(), false);
    for (int i = first; i < stages.size(); i++) {
      Stage stage = stages.get(i);
      String name = "encoder.down_blocks." + i + ".";
      for (int j = 0; j < stage.layers(); j++) {
        x = block(name + j, x, stage); // [B, C, H, W]
      }
      if (i + 1 < stages.size()) {
        int out = stages.get(i + 1).channels();
        x = down(name + stage.layers(), x, stage.channels(), out, true); // [B, C', H/2, W/2]
      }
    }
    String latent = conv("encoder.conv_out", x, 1, 1);
    if (config.encoderOutShortcut()) {
      long group = config.encoderWidth() / config.latentChannels();
      String mean = groupMeans("encoder.out_shortcut", x, x, config.latentChannels(), group);
      latent = nodes.add("encoder.out", "Add", List.of(latent, mean));
    }
    output("latent", latent);
  }

  private void decoder() {
    List<Stage> stages = config.decoder();
    int first = config.firstDecoderStage();
    String z = computed("latent.compute", "latent");
    String x = conv("decoder.conv_in", z, 1, 1); // [B, C, H, W] at the coarsest stage
    if (config.decoderInShortcut()) {
      int group = config.decoderWidth() / config.latentChannels();
      String repeated = repeated("decoder.in_shortcut", z, config.decoderWidth(), group);
      x = nodes.add("decoder.in", "Add", List.of(x, repeated));
    }
    for (int i = stages.size() - 1; i >= first; i--) {
      Stage stage = stages.get(i);
      String name = "decoder.up_blocks." + i + ".";
      int at = 0;
      if (i + 1 < stages.size()) {
        int in = stages.get(i + 1).channels();
        x = up(name + "0", x, in, stage.channels(), true); // [B, C', 2·H, 2·W]
        at = 1;
      }
      for (int j = 0; j < stage.layers(); j++) {
        x = block(name + (at + j), x, stage); // [B, C, H, W]
      }
    }
    x = norm("decoder.norm_out", x, Norm.RMS_NORM);
    x = act("decoder.conv_act", x, config.decoderConvAct());
    int width = stages.get(first).channels();
    x =
        first == 0
            ? conv("decoder.conv_out", x, 1, 1)
            : up("decoder.conv_out", x, width, DcAeConfig.IN_CHANNELS, false);
    output("rgb", x);
  }

  /** The graph's output, in single precision. */
  private void output(String name, String x) {
    if (compute == DType.F32) {
      nodes.add(name, "Identity", List.of(x));
    } else {
      nodes.add(name, "Cast", List.of(x), to(DType.F32));
    }
  }

  // ------------------------------------------------------------------ blocks

  private String block(String name, String x, Stage stage) {
    if (stage.block() == Block.RES_BLOCK) {
      return resBlock(name, x, stage);
    }
    return gluMbConv(name + ".conv_out", attention(name + ".attn", x, stage), stage.channels());
  }

  private String resBlock(String name, String x, Stage stage) {
    String y = conv(name + ".conv1", x, 1, 1);
    y = conv(name + ".conv2", act(name + ".act", y, stage.act()), 1, 1);
    return nodes.add(name, "Add", List.of(x, norm(name + ".norm", y, stage.norm())));
  }

  /**
   * Multi-scale linear attention. Queries, keys and values lie one behind the other on the channel
   * axis and are cut into runs of 3·d only then, as the network was trained: a pseudo-head's q, k
   * and v are not rows of to_q, to_k and to_v.
   */
  private String attention(String name, String x, Stage stage) {
    long c = stage.channels();
    long d = config.attentionHeadDim();
    String joined = projections(name, c); // [3·C, C, 1, 1]
    String qkv = nodes.add(name + ".to_qkv", "Conv", List.of(x, joined)); // [B, 3·C, H, W]
    List<String> scales = new ArrayList<>(List.of(qkv));
    for (int i = 0; i < stage.multiscales().size(); i++) {
      String scale = name + ".to_qkv_multiscale." + i;
      String local = conv(scale + ".proj_in", qkv, 1, 3 * c);
      scales.add(conv(scale + ".proj_out", local, 1, 3 * c / d));
    }
    String all = scales.size() == 1 ? qkv : nodes.add(name + ".scales", "Concat", scales, axis(1));
    long out = scales.size() * c;
    String single = single(name + ".single", all);

    nodes.longs(name + ".by_head", 0, out / d, 3 * d, -1);
    nodes.add(name + ".heads", "Reshape", List.of(single, name + ".by_head")); // [B, P, 3·d, N]
    nodes.add(
        List.of(name + ".q_plain", name + ".k_plain", name + ".v"),
        "Split",
        List.of(name + ".heads", nodes.longs(name + ".parts", d, d, d)),
        axis(2));
    String q = nodes.add(name + ".q", "Relu", List.of(name + ".q_plain"));
    String k = nodes.add(name + ".k", "Relu", List.of(name + ".k_plain"));
    nodes.add(
        name + ".kt", "Transpose", List.of(k), Onnx.attribute("perm", new long[] {0, 1, 3, 2}));
    nodes.add(name + ".vk", "MatMul", List.of(name + ".v", name + ".kt")); // [B, P, d, d]
    nodes.add(name + ".sum", "MatMul", List.of(name + ".vk", q)); // [B, P, d, N]
    nodes.longs(name + ".tokens", 2);
    // Σ k over the tokens, as a row: [B, P, 1, d]
    nodes.add(
        name + ".k_sum",
        "ReduceSum",
        List.of(name + ".kt", name + ".tokens"),
        Onnx.attribute("keepdims", 1));
    nodes.add(name + ".total", "MatMul", List.of(name + ".k_sum", q)); // [B, P, 1, N]
    nodes.scalar(name + ".epsilon", ATTENTION_EPSILON);
    nodes.add(name + ".lifted", "Add", List.of(name + ".total", name + ".epsilon"));
    nodes.add(name + ".mean", "Div", List.of(name + ".sum", name + ".lifted"));

    String attended = computed(name + ".attended", name + ".mean");
    attended = reshaped(name + ".joined", attended, x, out); // [B, P·d, H, W]
    String y =
        nodes.add(
            name + ".to_out",
            "Conv",
            List.of(attended, weight(name + ".to_out.weight", compute, c, out, 1, 1)));
    return nodes.add(name, "Add", List.of(x, norm(name + ".norm_out", y, Norm.RMS_NORM)));
  }

  /**
   * The weights of queries, keys and values as one: one product instead of three, and no copy of
   * activations. Joined when the model is loaded, or, for TensorRT, when it is written.
   */
  private String projections(String name, long c) {
    String joined = name + ".to_qkv.weight";
    List<String> parts =
        List.of(name + ".to_q.weight", name + ".to_k.weight", name + ".to_v.weight");
    if (forTensorRt) {
      return weight(joined, parts, compute, 3 * c, c, 1, 1);
    }
    List<String> weights = new ArrayList<>();
    for (String part : parts) {
      weights.add(weight(part, compute, c, c, 1, 1));
    }
    return nodes.add(joined, "Concat", weights, axis(0));
  }

  /** The gated convolution; the second half of its channels is the gate. */
  private String gluMbConv(String name, String x, long c) {
    String u = act(name + ".nonlinearity", conv(name + ".conv_inverted", x, 1, 1), Activation.SILU);
    u = conv(name + ".conv_depth", u, 1, 8 * c); // [B, 8·C, H, W]
    nodes.add(
        List.of(name + ".value", name + ".gate"),
        "Split",
        List.of(u, nodes.longs(name + ".halves", 4 * c, 4 * c)),
        axis(1));
    String gate = act(name + ".gate_act", name + ".gate", Activation.SILU);
    String gated = nodes.add(name + ".gated", "Mul", List.of(name + ".value", gate));
    String y = norm(name + ".norm", conv(name + ".conv_point", gated, 1, 1), Norm.RMS_NORM);
    return nodes.add(name, "Add", List.of(x, y));
  }

  // ------------------------------------------------------------------ changes of resolution

  /** To half the resolution, {@code in} to {@code out} channels. */
  private String down(String name, String x, long in, long out, boolean shortcut) {
    String y =
        config.pixelUnshuffle()
            ? unshuffled(name + ".unshuffle", conv(name + ".conv", x, 1, 1), out / 4)
            : conv(name + ".conv", x, 2, 1);
    return shortcut ? nodes.add(name, "Add", List.of(y, downShortcut(name, x, y, in, out))) : y;
  }

  /**
   * Pixel-unshuffle, then the means of g channels in a row: g = 4 is the average of 2×2 pixels, g =
   * 2 that of two neighbours in a row, whose even and odd rows become even and odd channels.
   *
   * @param like a tensor of the new height and width
   */
  private String downShortcut(String name, String x, String like, long in, long out) {
    String shortcut = name + ".shortcut";
    long g = 4 * in / out;
    if (g == 4) {
      return nodes.add(shortcut, "AveragePool", List.of(x), kernel(2, 2), strides(2, 2));
    }
    if (g == 2) {
      nodes.add(shortcut + ".pairs", "AveragePool", List.of(x), kernel(1, 2), strides(1, 2));
      String rows =
          nodes.add(
              shortcut + ".extents",
              "Concat",
              List.of(
                  nodes.longs(shortcut + ".row_outer", 0, in),
                  extent(like, 2),
                  nodes.longs(shortcut + ".two", 2),
                  extent(like, 3)),
              axis(0));
      nodes.add(shortcut + ".rows", "Reshape", List.of(shortcut + ".pairs", rows));
      nodes.add(
          shortcut + ".by_parity",
          "Transpose",
          List.of(shortcut + ".rows"),
          Onnx.attribute("perm", new long[] {0, 1, 3, 2, 4}));
      return reshaped(shortcut, shortcut + ".by_parity", like, out);
    }
    String pixels = unshuffled(shortcut + ".unshuffle", x, in);
    return g == 1 ? pixels : groupMeans(shortcut, pixels, pixels, out, g);
  }

  /**
   * Pixel-unshuffle of c channels by 2: channel 4·c + 2·i + j has row parity i, column parity j.
   */
  private String unshuffled(String name, String x, long c) {
    nodes.longs(name + ".two", 2);
    nodes.add(name + ".h", "Div", List.of(extent(x, 2), name + ".two"));
    nodes.add(name + ".w", "Div", List.of(extent(x, 3), name + ".two"));
    nodes.add(
        name + ".cut",
        "Concat",
        List.of(
            nodes.longs(name + ".outer", 0, c),
            name + ".h",
            name + ".two",
            name + ".w",
            name + ".two"),
        axis(0));
    nodes.add(name + ".pixels", "Reshape", List.of(x, name + ".cut")); // [B, C, H/2, 2, W/2, 2]
    nodes.add(
        name + ".by_parity",
        "Transpose",
        List.of(name + ".pixels"),
        Onnx.attribute("perm", new long[] {0, 1, 3, 5, 2, 4}));
    nodes.add(
        name + ".joined",
        "Concat",
        List.of(nodes.longs(name + ".channels", 0, 4 * c), name + ".h", name + ".w"),
        axis(0));
    return nodes.add(name, "Reshape", List.of(name + ".by_parity", name + ".joined"));
  }

  /** To twice the resolution, {@code in} to {@code out} channels. */
  private String up(String name, String x, long in, long out, boolean shortcut) {
    String nearest = config.interpolate() || shortcut && out == in ? nearest(name, x) : null;
    String y =
        config.interpolate()
            ? conv(name + ".conv", nearest, 1, 1)
            : shuffled(name + ".shuffle", conv(name + ".conv", x, 1, 1));
    return shortcut
        ? nodes.add(name, "Add", List.of(y, upShortcut(name, x, nearest, y, in, out)))
        : y;
  }

  /**
   * Every channel r times in a row, then pixel-shuffle: r = 4 is the nearest neighbour, r = 2 puts
   * even and odd channels into even and odd rows, each pixel twice in its row.
   *
   * @param nearest x at twice the resolution, where r = 4
   */
  private String upShortcut(String name, String x, String nearest, String like, long in, long out) {
    String shortcut = name + ".shortcut";
    long r = 4 * out / in;
    if (r == 4) {
      return nearest;
    }
    if (r == 2) {
      String channels = reshaped(shortcut + ".pairs", x, x, out, 2); // [B, C', 2, H, W]
      nodes.add(
          shortcut + ".rows",
          "Transpose",
          List.of(channels),
          Onnx.attribute("perm", new long[] {0, 1, 3, 2, 4}));
      String tall =
          nodes.add(
              shortcut + ".extents",
              "Concat",
              List.of(nodes.longs(shortcut + ".outer", 0, out), extent(like, 2), extent(x, 3)),
              axis(0));
      nodes.add(shortcut + ".tall", "Reshape", List.of(shortcut + ".rows", tall)); // [B, C', 2H, W]
      return resize(shortcut, shortcut + ".tall", 1, 2);
    }
    return shuffled(shortcut, r == 1 ? x : repeated(shortcut + ".repeated", x, 4 * out, r));
  }

  /** Each pixel as 2×2 pixels. */
  private String nearest(String name, String x) {
    return resize(name + ".nearest", x, 2, 2);
  }

  /** out(y, x) = in(⌊y/h⌋, ⌊x/w⌋). */
  private String resize(String name, String x, float h, float w) {
    boolean inSingle = forTensorRt && compute == DType.BF16; // TensorRT 10.6 resizes no bf16
    nodes.constant(name + ".scales", Onnx.tensor(new float[] {1, 1, h, w}, 4));
    String out =
        nodes.add(
            inSingle ? name + ".out" : name,
            "Resize",
            List.of(inSingle ? single(name + ".single", x) : x, "", name + ".scales"),
            Onnx.attribute("mode", "nearest"),
            Onnx.attribute("coordinate_transformation_mode", "asymmetric"),
            Onnx.attribute("nearest_mode", "floor"));
    return inSingle ? computed(name, out) : out;
  }

  /** Pixel-shuffle by 2: out[c](2h+i, 2w+j) = in[4c+2i+j](h, w), which is CRD, not the default. */
  private String shuffled(String name, String x) {
    return nodes.add(
        name,
        "DepthToSpace",
        List.of(x),
        Onnx.attribute("blocksize", 2),
        Onnx.attribute("mode", "CRD"));
  }

  /** {@code out} channels, of which each {@code times} in a row are one of x. */
  private String repeated(String name, String x, long out, long times) {
    long[] from = new long[Math.toIntExact(out)];
    for (int i = 0; i < from.length; i++) {
      from[i] = i / times;
    }
    nodes.longs(name + ".from", from);
    return nodes.add(name, "Gather", List.of(x, name + ".from"), axis(1));
  }

  /** {@code out} channels, each the mean of {@code group} channels in a row of x. */
  private String groupMeans(String name, String x, String like, long out, long group) {
    String groups = reshaped(name + ".groups", x, like, out, group);
    nodes.longs(name + ".group_axis", 2);
    return nodes.add(
        name, "ReduceMean", List.of(groups, name + ".group_axis"), Onnx.attribute("keepdims", 0));
  }

  // ------------------------------------------------------------------ layers

  /**
   * A convolution that keeps the size, or halves it; with a bias where the checkpoint has one.
   *
   * @param group how many groups its channels are in
   */
  private String conv(String name, String x, long stride, long group) {
    boolean inSingle = forTensorRt && compute == DType.BF16 && group > 1;
    DType type = inSingle ? DType.F32 : compute;
    String key = name + ".weight";
    long kernel = shape(key).dim(2);
    List<String> inputs = new ArrayList<>();
    inputs.add(inSingle ? single(name + ".single", x) : x);
    inputs.add(weight(key, type));
    if (has(name + ".bias")) {
      inputs.add(weight(name + ".bias", type));
    }
    long pad = kernel / 2;
    String out =
        nodes.add(
            inSingle ? name + ".out" : name,
            "Conv",
            inputs,
            kernel(kernel, kernel),
            strides(stride, stride),
            Onnx.attribute("pads", new long[] {pad, pad, pad, pad}),
            Onnx.attribute("group", group));
    return inSingle ? computed(name, out) : out;
  }

  private String act(String name, String x, Activation act) {
    if (act == Activation.RELU) {
      return nodes.add(name, "Relu", List.of(x));
    }
    nodes.add(name + ".sigmoid", "Sigmoid", List.of(x));
    return nodes.add(name, "Mul", List.of(x, name + ".sigmoid"));
  }

  private String norm(String name, String x, Norm norm) {
    String in = single(name + ".single", x);
    String out = compute == DType.F32 ? name : name + ".out";
    if (norm == Norm.RMS_NORM) {
      rmsNorm(name, in, out);
    } else {
      List<String> inputs = new ArrayList<>(List.of(in));
      for (String part : List.of(".weight", ".bias", ".running_mean", ".running_var")) {
        inputs.add(weight(name + part, DType.F32));
      }
      nodes.add(out, "BatchNormalization", inputs, Onnx.attribute("epsilon", NORM_EPSILON));
    }
    return computed(name, out);
  }

  /** Root mean square over the channels of each pixel; the mean is not taken off. */
  private void rmsNorm(String name, String x, String out) {
    long c = shape(name + ".weight").dim(0);
    nodes.add(name + ".squared", "Mul", List.of(x, x));
    nodes.add(
        name + ".mean_square",
        "ReduceMean",
        List.of(name + ".squared", nodes.longs(name + ".channel_axis", 1)));
    nodes.scalar(name + ".epsilon", NORM_EPSILON);
    nodes.add(name + ".lifted", "Add", List.of(name + ".mean_square", name + ".epsilon"));
    nodes.add(name + ".root", "Sqrt", List.of(name + ".lifted"));
    nodes.add(name + ".inverse", "Reciprocal", List.of(name + ".root"));
    nodes.add(name + ".unit", "Mul", List.of(x, name + ".inverse"));
    String weight = weight(name + ".weight", DType.F32, c, 1, 1);
    nodes.add(name + ".weighed", "Mul", List.of(name + ".unit", weight));
    nodes.add(out, "Add", List.of(name + ".weighed", weight(name + ".bias", DType.F32, c, 1, 1)));
  }

  // ------------------------------------------------------------------ types and extents

  /** x in the type of the arithmetic, from single precision. */
  private String computed(String name, String x) {
    return compute == DType.F32 ? x : nodes.add(name, "Cast", List.of(x), to(compute));
  }

  /** x in single precision, from the type of the arithmetic. */
  private String single(String name, String x) {
    return compute == DType.F32 ? x : nodes.add(name, "Cast", List.of(x), to(DType.F32));
  }

  /** x as [B, extents…, H, W] with the height and width of {@code like}. */
  private String reshaped(String name, String x, String like, long... extents) {
    long[] outer = new long[1 + extents.length]; // a 0 keeps the batch as it is
    System.arraycopy(extents, 0, outer, 1, extents.length);
    nodes.add(name + ".size", "Shape", List.of(like), Onnx.attribute("start", 2));
    nodes.add(
        name + ".shape",
        "Concat",
        List.of(nodes.longs(name + ".outer", outer), name + ".size"),
        axis(0));
    return nodes.add(name, "Reshape", List.of(x, name + ".shape"));
  }

  /** One extent of a tensor, [1]; asked for at most once a tensor and axis. */
  private String extent(String x, long axis) {
    return nodes.add(
        x + ".extent" + axis,
        "Shape",
        List.of(x),
        Onnx.attribute("start", axis),
        Onnx.attribute("end", axis + 1));
  }

  private static Message kernel(long h, long w) {
    return Onnx.attribute("kernel_shape", new long[] {h, w});
  }

  private static Message strides(long h, long w) {
    return Onnx.attribute("strides", new long[] {h, w});
  }

  private static Message to(DType type) {
    return Onnx.attribute("to", Onnx.elementType(type));
  }
}
