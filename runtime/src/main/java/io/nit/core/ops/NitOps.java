package io.nit.core.ops;

import io.nit.core.ops.PluginSpec.Attribute;
import io.nit.core.ops.PluginSpec.Tensor;
import java.util.List;
import java.util.stream.Stream;

/**
 * The project's own graph nodes. The exporter writes them, ONNX Runtime runs the local function of
 * standard ops that stands beside each in the model, and TensorRT plugins of the same names take
 * them over.
 *
 * <p>Legend: N tokens, B images, D hidden, H heads, d headDim; I and O columns in and out.
 */
public final class NitOps {
  /** Domain of the nodes and namespace of the plugins. */
  public static final String DOMAIN = "ai.nit";

  /** Version of the domain and of every plugin. */
  public static final int VERSION = 1;

  /**
   * Softmax attention of every token to the tokens of its own image, straight from the packed qkv.
   */
  public static final PluginSpec VARLEN_ATTENTION =
      new PluginSpec(
          "NitVarlenAttention",
          List.of(new Tensor("qkv", "T", "[N, 3·H·d]"), new Tensor("cu_seqlens", "int32", "[B+1]")),
          List.of(new Tensor("out", "T", "[N, H·d]")),
          List.of(new Attribute("num_heads", "int"), new Attribute("head_dim", "int")));

  /** Attributes of nodes that norm and rotate heads. */
  private static final List<Attribute> ROPE_ATTRIBUTES =
      List.of(
          new Attribute("num_heads", "int"),
          new Attribute("head_dim", "int"),
          new Attribute("qk_norm", "int"),
          new Attribute("epsilon", "float"));

  /** LayerNorm over headDim on q and k (where qk_norm is 1), then 2-D RoPE on both; v passes. */
  public static final PluginSpec QK_NORM_ROPE_2D =
      new PluginSpec(
          "NitQkNormRope2d",
          andRope(new Tensor("qkv", "T", "[N, 3·H·d]")),
          List.of(new Tensor("out", "T", "[N, 3·H·d]")),
          ROPE_ATTRIBUTES);

  /** LayerNorm without affine, then {@code ·(1 + scale[image]) + shift[image]}. */
  public static final PluginSpec PACKED_ADALN =
      new PluginSpec(
          "NitPackedAdaLn",
          List.of(
              new Tensor("x", "T", "[N, D]"),
              new Tensor("shift", "T", "[B, D]"),
              new Tensor("scale", "T", "[B, D]"),
              new Tensor("image_index", "int32", "[N]")),
          List.of(new Tensor("out", "T", "[N, D]")),
          List.of(new Attribute("epsilon", "float")));

  /** {@code x + gate[image]·y}. */
  public static final PluginSpec GATED_RESIDUAL =
      new PluginSpec(
          "NitGatedResidual",
          List.of(
              new Tensor("x", "T", "[N, D]"),
              new Tensor("y", "T", "[N, D]"),
              new Tensor("gate", "T", "[B, D]"),
              new Tensor("image_index", "int32", "[N]")),
          List.of(new Tensor("out", "T", "[N, D]")),
          List.of());

  /**
   * {@link #GATED_RESIDUAL} and then {@link #PACKED_ADALN} on its result, which is the first
   * output: one pass over memory where the two need two. Gate, shift and scale are parts of D
   * columns of wider tensors.
   */
  public static final PluginSpec GATED_ADALN =
      new PluginSpec(
          "NitGatedAdaLn",
          List.of(
              new Tensor("x", "T", "[N, D]"),
              new Tensor("y", "T", "[N, D]"),
              new Tensor("gate", "T", "[B, K·D]"),
              new Tensor("shift", "T", "[B, K·D]"),
              new Tensor("scale", "T", "[B, K·D]"),
              new Tensor("image_index", "int32", "[N]")),
          List.of(new Tensor("residual", "T", "[N, D]"), new Tensor("out", "T", "[N, D]")),
          List.of(
              new Attribute("epsilon", "float"),
              new Attribute("gate_at", "int"),
              new Attribute("shift_at", "int"),
              new Attribute("scale_at", "int")));

  /**
   * {@code activation(x·weightᵀ + bias)} for few tokens on Hopper; activation 0 is none, 1 is GELU
   * in its tanh form. The engine builder puts it in the place of a linear layer and what follows.
   */
  public static final PluginSpec LINEAR =
      new PluginSpec(
          "NitLinear",
          List.of(
              new Tensor("x", "T", "[N, I]"),
              new Tensor("weight", "T", "[O, I]"),
              new Tensor("bias", "T", "[O]")),
          List.of(new Tensor("out", "T", "[N, O]")),
          List.of(new Attribute("activation", "int")));

  /**
   * {@link #LINEAR} without activation that makes q, k and v, and then {@link #QK_NORM_ROPE_2D}:
   * for heads that {@link #joinsHeads} takes.
   */
  public static final PluginSpec QKV_LINEAR =
      new PluginSpec(
          "NitQkvLinear",
          andRope(
              new Tensor("x", "T", "[N, I]"),
              new Tensor("weight", "T", "[3·H·d, I]"),
              new Tensor("bias", "T", "[3·H·d]")),
          List.of(new Tensor("out", "T", "[N, 3·H·d]")),
          ROPE_ATTRIBUTES);

  /** The nodes of an exported model. */
  public static final List<PluginSpec> ALL =
      List.of(VARLEN_ATTENTION, QK_NORM_ROPE_2D, PACKED_ADALN, GATED_RESIDUAL);

  /**
   * What the CUDA library registers with TensorRT: the nodes, the fused form of two of them, the
   * linear layer, and the one that makes q, k and v.
   */
  public static final List<PluginSpec> PLUGINS =
      List.of(
          VARLEN_ATTENTION,
          QK_NORM_ROPE_2D,
          PACKED_ADALN,
          GATED_RESIDUAL,
          GATED_ADALN,
          LINEAR,
          QKV_LINEAR);

  /**
   * Whether {@link #QKV_LINEAR} takes heads of so many columns: its tiles are whole heads, one or
   * two of 72, two of 64.
   *
   * @param heads of q, as many of k and of v
   */
  public static boolean joinsHeads(int heads, int headDim) {
    return headDim == 72 || headDim == 64 && heads % 2 == 0;
  }

  /** A node's own inputs, and then what norms and rotates heads. */
  private static List<Tensor> andRope(Tensor... own) {
    Stream<Tensor> rope =
        Stream.of(
            new Tensor("rope_cos", "float32", "[N, d]"),
            new Tensor("rope_sin", "float32", "[N, d]"),
            new Tensor("q_norm_weight", "T", "[d], if qk_norm"),
            new Tensor("q_norm_bias", "T", "[d], if qk_norm"),
            new Tensor("k_norm_weight", "T", "[d], if qk_norm"),
            new Tensor("k_norm_bias", "T", "[d], if qk_norm"));
    return Stream.concat(Stream.of(own), rope).toList();
  }

  private NitOps() {}
}
