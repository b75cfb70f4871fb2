package io.nit.exporter.onnx;

import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_BOOL;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_FLOAT;
import static org.bytedeco.onnx.global.onnx.TensorProto_DataType_INT64;

import io.nit.core.config.NitConfig;
import io.nit.core.ops.NitOps;
import io.nit.core.ops.PluginSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * The bodies of our own nodes in standard operators, for backends without kernels of their own.
 * They are made for one config, whose sizes they hold as constants.
 *
 * <p>Legend: N tokens, B images, D hidden, H heads, d headDim, n tokens of one image, Q rows of
 * queries at once.
 */
final class NitFunctions {
  /**
   * Queries that one step of the attention takes: the scores of a step, [H, Q, n], are what bounds
   * its memory, and at this size a step still keeps every core busy.
   */
  static final int QUERY_ROWS = 512;

  private final NitConfig config;
  private final int opset;

  NitFunctions(NitConfig config, int opset) {
    this.config = config;
    this.opset = opset;
  }

  /**
   * Those of a graph.
   *
   * @param linears whether it holds linear layers of ours
   */
  List<Message> all(boolean linears) {
    List<PluginSpec> ops =
        new ArrayList<>(
            List.of(
                NitOps.PACKED_ADALN,
                NitOps.QK_NORM_ROPE_2D,
                NitOps.VARLEN_ATTENTION,
                NitOps.GATED_RESIDUAL));
    if (linears) {
      ops.add(NitOps.LINEAR);
      ops.add(NitOps.QKV_LINEAR);
    }
    List<Message> functions = new ArrayList<>();
    for (PluginSpec op : ops) {
      NodeList body = new NodeList();
      body(op, body, Onnx.floatOfFunction("value_float", "epsilon"));
      functions.add(function(op, body));
    }
    return functions;
  }

  /**
   * Adds one node's body.
   *
   * @param body takes the operators; the op's inputs and outputs go by the names of its spec
   * @param epsilon the attribute {@code value_float} of the norms
   */
  void body(PluginSpec op, NodeList body, Message epsilon) {
    switch (op.name()) {
      case "NitPackedAdaLn" -> packedAdaLn(body, epsilon);
      case "NitQkNormRope2d" -> qkNormRope2d(body, epsilon);
      case "NitVarlenAttention" -> varlenAttention(body);
      case "NitGatedResidual" -> gatedResidual(body);
      case "NitLinear" -> linear(body);
      case "NitQkvLinear" -> qkvLinear(body, epsilon);
      default -> throw new IllegalArgumentException(op.name() + ": expected a node with a body");
    }
  }

  /**
   * LayerNorm, then the image's own scale and shift: gathered rows, so that B·D is all it reads.
   */
  private static void packedAdaLn(NodeList body, Message epsilon) {
    String normed = normalized(body, "x", "x", epsilon);
    body.add("factor", "Add", List.of("scale", body.scalar("one", 1f)));
    body.add("token_factor", "Gather", List.of("factor", "image_index"), axis(0));
    body.add("token_shift", "Gather", List.of("shift", "image_index"), axis(0));
    body.add("scaled", "Mul", List.of(normed, "token_factor"));
    body.add("out", "Add", List.of("scaled", "token_shift"));
  }

  /** The branch's result, weighed by the image's own gate, onto the residual stream. */
  private static void gatedResidual(NodeList body) {
    body.add("token_gate", "Gather", List.of("gate", "image_index"), axis(0));
    body.add("gated", "Mul", List.of("token_gate", "y"));
    body.add("out", "Add", List.of("x", "gated"));
  }

  /** The product, and GELU of it where the node asks for that. */
  private static void linear(NodeList body) {
    body.add("product", "Gemm", List.of("x", "weight", "bias"), Onnx.attribute("transB", 1));
    body.add("chosen", "Constant", List.of(), Onnx.intOfFunction("value_int", "activation"));
    body.add("gelu", "Cast", List.of("chosen"), Onnx.attribute("to", TensorProto_DataType_BOOL));
    NodeList activated = new NodeList();
    activated.add("activated", "Gelu", List.of("product"), Onnx.attribute("approximate", "tanh"));
    NodeList plain = new NodeList();
    plain.add("plain", "Identity", List.of("product"));
    body.add(
        "out",
        "If",
        List.of("gelu"),
        Onnx.graphAttribute("then_branch", branch("activated", activated)),
        Onnx.graphAttribute("else_branch", branch("plain", plain)));
  }

  /** The product of a layer that makes q, k and v, then norm and rotation. */
  private void qkvLinear(NodeList body, Message epsilon) {
    body.add("qkv", "Gemm", List.of("x", "weight", "bias"), Onnx.attribute("transB", 1));
    qkNormRope2d(body, epsilon);
  }

  private static Message branch(String out, NodeList nodes) {
    return Onnx.graph(
        out,
        nodes,
        List.of(),
        List.of(Onnx.value(out, TensorProto_DataType_FLOAT, "tokens", "columns")));
  }

  /**
   * LayerNorm over the head on q and k, then the rotation {@code q·cos + rot(q)·sin}. {@code rot}
   * is a product with a constant d×d matrix of 0 and ±1, exact in any precision: ONNX has no
   * operator that swaps neighbours without moving single elements, which costs a CPU more than the
   * product.
   */
  private void qkNormRope2d(NodeList body, Message epsilon) {
    long heads = config.numHeads();
    long headDim = config.headDim();
    long width = heads * headDim;
    body.longs("per_head", -1, heads, headDim);
    body.longs("flat", -1, width);
    body.longs("head_axis", 1);
    body.constant("rot", rotation((int) headDim));
    body.add("cos", "Unsqueeze", List.of("rope_cos", "head_axis"));
    body.add("sin", "Unsqueeze", List.of("rope_sin", "head_axis"));
    body.add(
        List.of("q_in", "k_in", "v"),
        "Split",
        List.of("qkv", body.longs("parts", width, width, width)),
        axis(1));
    for (String s : List.of("q", "k")) {
      String x = body.add(s + "_heads", "Reshape", List.of(s + "_in", "per_head"));
      if (config.qkNorm()) {
        String normed = normalized(body, s, x, epsilon);
        String scaled = body.add(s + "_scaled", "Mul", List.of(normed, s + "_norm_weight"));
        x = body.add(s + "_normed", "Add", List.of(scaled, s + "_norm_bias"));
      }
      body.add(s + "_rot", "MatMul", List.of(x, "rot"));
      body.add(s + "_cos", "Mul", List.of(x, "cos"));
      body.add(s + "_sin", "Mul", List.of(s + "_rot", "sin"));
      body.add(s + "_turned", "Add", List.of(s + "_cos", s + "_sin"));
      body.add(s + "_out", "Reshape", List.of(s + "_turned", "flat"));
    }
    body.add("out", "Concat", List.of("q_out", "k_out", "v"), axis(1));
  }

  /** x·R is rot(x): (a, b) → (-b, a) for every adjacent pair. */
  private static Message rotation(int d) {
    float[] r = new float[d * d];
    for (int i = 0; i < d; i += 2) {
      r[(i + 1) * d + i] = -1;
      r[i * d + i + 1] = 1;
    }
    return Onnx.tensor(r, d, d);
  }

  /**
   * Softmax attention image by image: a Loop over steps of at most Q queries of one image, each
   * against all keys of that image, so that the work is Σ n² and a step's scores are [H, Q, n]. The
   * results are collected in a sequence and joined once.
   */
  private void varlenAttention(NodeList body) {
    long heads = config.numHeads();
    long headDim = config.headDim();
    steps(body);
    headsOf(body);

    body.longs("token_axis", 1);
    body.add(
        "none", "SequenceEmpty", List.of(), Onnx.attribute("dtype", TensorProto_DataType_FLOAT));
    body.add(
        "results",
        "Loop",
        List.of("step_count", "", "none"),
        Onnx.graphAttribute("body", attentionStep()));
    body.add("joined", "ConcatFromSequence", List.of("results"), axis(1));
    body.add(
        "by_token", "Transpose", List.of("joined"), Onnx.attribute("perm", new long[] {1, 0, 2}));
    body.add("out", "Reshape", List.of("by_token", body.longs("flat", -1, heads * headDim)));
  }

  /**
   * Softmax attention over the whole pack at once, where {@code same_image} [N, N] tells which
   * tokens see each other: N² work and memory, for backends without loops of uneven steps.
   */
  void maskedAttention(NodeList body) {
    long heads = config.numHeads();
    long headDim = config.headDim();
    headsOf(body);
    body.add("kt", "Transpose", List.of("k"), Onnx.attribute("perm", new long[] {0, 2, 1}));
    body.add("all_scores", "MatMul", List.of("q", "kt"));
    body.add(
        "scores",
        "Where",
        List.of("same_image", "all_scores", body.scalar("unseen", -Float.MAX_VALUE)));
    body.add("weights", "Softmax", List.of("scores"), axis(-1));
    body.add("by_head_out", "MatMul", List.of("weights", "v"));
    body.add(
        "by_token",
        "Transpose",
        List.of("by_head_out"),
        Onnx.attribute("perm", new long[] {1, 0, 2}));
    body.add("out", "Reshape", List.of("by_token", body.longs("flat", -1, heads * headDim)));
  }

  /** Splits qkv into q, scaled for the softmax, k and v, each [H, N, d]. */
  private void headsOf(NodeList body) {
    long heads = config.numHeads();
    long headDim = config.headDim();
    body.add("parts", "Reshape", List.of("qkv", body.longs("by_part", -1, 3, heads, headDim)));
    body.add(
        "by_head", "Transpose", List.of("parts"), Onnx.attribute("perm", new long[] {1, 2, 0, 3}));
    body.add(
        List.of("q_part", "k_part", "v_part"),
        "Split",
        List.of("by_head"),
        axis(0),
        Onnx.attribute("num_outputs", 3));
    body.longs("part_axis", 0);
    body.add("q_plain", "Squeeze", List.of("q_part", "part_axis"));
    body.add("k", "Squeeze", List.of("k_part", "part_axis"));
    body.add("v", "Squeeze", List.of("v_part", "part_axis"));
    body.add(
        "q",
        "Mul",
        List.of("q_plain", body.scalar("softmax_scale", (float) (1 / Math.sqrt(headDim)))));
  }

  /**
   * For every step, [steps]: first and end of its queries and of its image's tokens. Image i has
   * ⌈n_i / Q⌉ steps.
   */
  private static void steps(NodeList body) {
    body.longs("zero", 0);
    body.longs("one", 1);
    body.longs("last", -1);
    body.longs("end", Long.MAX_VALUE);
    body.longs("rows", QUERY_ROWS);
    body.add("cu", "Cast", List.of("cu_seqlens"), Onnx.attribute("to", TensorProto_DataType_INT64));
    body.add("first_token", "Slice", List.of("cu", "zero", "last"));
    body.add("end_token", "Slice", List.of("cu", "one", "end"));
    body.add("tokens", "Sub", List.of("end_token", "first_token"));
    body.add("rounding", "Sub", List.of("rows", "one"));
    body.add("rounded", "Add", List.of("tokens", "rounding"));
    body.add("image_steps", "Div", List.of("rounded", "rows"));
    body.add("end_step", "CumSum", List.of("image_steps", body.scalar("step_axis", 0L)));
    body.add("first_step", "Sub", List.of("end_step", "image_steps"));
    body.add("step_count", "Gather", List.of("end_step", body.scalar("last_image", -1L)), axis(0));
    body.add(
        "step",
        "Range",
        List.of(body.scalar("start_step", 0L), "step_count", body.scalar("step_stride", 1L)));
    // The image of a step: a mark at every image's first step but the first's, then the running
    // sum.
    body.add("step_shape", "Unsqueeze", List.of("step_count", "zero"));
    body.add(
        "no_marks",
        "ConstantOfShape",
        List.of("step_shape"),
        Onnx.tensorAttribute("value", Onnx.tensor(new long[] {0}, 1)));
    body.add("next_image_step", "Slice", List.of("end_step", "zero", "last"));
    body.add("next_shape", "Shape", List.of("next_image_step"));
    body.add(
        "mark",
        "ConstantOfShape",
        List.of("next_shape"),
        Onnx.tensorAttribute("value", Onnx.tensor(new long[] {1}, 1)));
    body.add(
        "marks",
        "ScatterElements",
        List.of("no_marks", "next_image_step", "mark"),
        axis(0),
        Onnx.attribute("reduction", "add"));
    body.add("image", "CumSum", List.of("marks", "step_axis"));
    body.add("keys_from", "Gather", List.of("first_token", "image"), axis(0));
    body.add("keys_to", "Gather", List.of("end_token", "image"), axis(0));
    body.add("image_first_step", "Gather", List.of("first_step", "image"), axis(0));
    body.add("step_in_image", "Sub", List.of("step", "image_first_step"));
    body.add("rows_before", "Mul", List.of("step_in_image", "rows"));
    body.add("queries_from", "Add", List.of("keys_from", "rows_before"));
    body.add("queries_full", "Add", List.of("queries_from", "rows"));
    body.add("queries_to", "Min", List.of("queries_full", "keys_to"));
  }

  private static Message attentionStep() {
    NodeList step = new NodeList();
    step.add("at", "Unsqueeze", List.of("number", "part_axis"));
    for (String bound : List.of("queries_from", "queries_to", "keys_from", "keys_to")) {
      step.add("step_" + bound, "Gather", List.of(bound, "at"), axis(0));
    }
    step.add("step_q", "Slice", List.of("q", "step_queries_from", "step_queries_to", "token_axis"));
    step.add("step_k", "Slice", List.of("k", "step_keys_from", "step_keys_to", "token_axis"));
    step.add("step_v", "Slice", List.of("v", "step_keys_from", "step_keys_to", "token_axis"));
    step.add(
        "step_kt", "Transpose", List.of("step_k"), Onnx.attribute("perm", new long[] {0, 2, 1}));
    step.add("scores", "MatMul", List.of("step_q", "step_kt"));
    step.add("weights", "Softmax", List.of("scores"), axis(-1));
    step.add("result", "MatMul", List.of("weights", "step_v"));
    step.add("results_out", "SequenceInsert", List.of("results_in", "result"));
    step.add("go_on_out", "Identity", List.of("go_on"));
    return Onnx.graph(
        "attention_step",
        step,
        List.of(
            Onnx.value("number", TensorProto_DataType_INT64),
            Onnx.value("go_on", TensorProto_DataType_BOOL),
            Onnx.sequence("results_in", TensorProto_DataType_FLOAT)),
        List.of(
            Onnx.value("go_on_out", TensorProto_DataType_BOOL),
            Onnx.sequence("results_out", TensorProto_DataType_FLOAT)));
  }

  /**
   * LayerNorm over the last axis without its affine part. Written out, since ONNX Runtime's kernel
   * for LayerNormalization sums element after element and took a fifth of a forward; in two passes,
   * so that a mean far from zero costs no precision.
   */
  private static String normalized(NodeList body, String name, String x, Message epsilon) {
    String axis = body.longs(name + "_axis", -1);
    body.add(name + "_epsilon", "Constant", List.of(), epsilon);
    body.add(name + "_mean", "ReduceMean", List.of(x, axis));
    body.add(name + "_centred", "Sub", List.of(x, name + "_mean"));
    body.add(name + "_squared", "Mul", List.of(name + "_centred", name + "_centred"));
    body.add(name + "_variance", "ReduceMean", List.of(name + "_squared", axis));
    body.add(name + "_lifted", "Add", List.of(name + "_variance", name + "_epsilon"));
    body.add(name + "_deviation", "Sqrt", List.of(name + "_lifted"));
    body.add(name + "_inverse", "Reciprocal", List.of(name + "_deviation"));
    return body.add(name + "_unit", "Mul", List.of(name + "_centred", name + "_inverse"));
  }

  private Message function(PluginSpec op, NodeList body) {
    List<String> inputs = new ArrayList<>();
    for (PluginSpec.Tensor input : op.inputs()) {
      if (config.qkNorm() || !input.shape().contains("if qk_norm")) {
        inputs.add(input.name());
      }
    }
    return Onnx.function(
        NitOps.DOMAIN,
        op.name(),
        inputs,
        op.outputs().stream().map(PluginSpec.Tensor::name).toList(),
        op.attributes().stream().map(PluginSpec.Attribute::name).toList(),
        body,
        opset);
  }

  private static Message axis(long axis) {
    return Onnx.attribute("axis", axis);
  }
}
