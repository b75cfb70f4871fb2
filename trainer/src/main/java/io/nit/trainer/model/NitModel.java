package io.nit.trainer.model;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.LongPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Conv2dImpl;
import org.bytedeco.pytorch.Conv2dOptions;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.EmbeddingImpl;
import org.bytedeco.pytorch.LayerNormImpl;
import org.bytedeco.pytorch.LayerNormOptions;
import org.bytedeco.pytorch.LinearImpl;
import org.bytedeco.pytorch.LongVector;
import org.bytedeco.pytorch.Module;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * NiT: a diffusion transformer over packs of images of any size, predicting the flow-matching
 * velocity. The classes below stand in the order of the forward; the module names they register are
 * the checkpoint keys.
 *
 * <p>Legend of the shapes: tokens = all tokens of a pack, images = its images, C·p·p one token's
 * values, hidden = heads·headDim.
 *
 * <p>The model owns its native memory until {@link #close}, which may be called twice; the forward
 * throws {@link IllegalStateException} after it. One forward at a time.
 */
public final class NitModel implements Network, AutoCloseable {
  /** ε of the norms that are modulated. */
  public static final double NORM_EPS = 1e-6;

  /** ε of the norms on q and k. */
  public static final double QK_NORM_EPS = 1e-5;

  private static final int FREQUENCIES = 128;

  /** What t is multiplied by for its sinusoids, [128]. */
  public static float[] timeFrequencies() {
    float[] values = new float[FREQUENCIES];
    for (int i = 0; i < FREQUENCIES; i++) {
      values[i] = (float) Math.exp(-Math.log(10_000) * i / FREQUENCIES);
    }
    return values;
  }

  // ---------------------------------------------------------------- Embedders

  /** The convolution whose kernel is its stride: a Linear over each token's C·p·p values. */
  static final class PatchEmbedder extends Module {
    private final Conv2dImpl proj;
    private final Tensor weight; // [hidden, C·p·p]

    PatchEmbedder(NitConfig config) {
      long p = config.patchSize();
      Conv2dOptions options =
          new Conv2dOptions(config.inChannels(), config.hiddenSize(), new LongPointer(p, p));
      options.stride().put(p, p);
      proj = register_module("proj", new Conv2dImpl(options));
      weight = proj.weight();
    }

    Tensor forward(Tensor x) {
      return torch
          .matmul(x.flatten(1, -1), weight.flatten(1, -1).t())
          .add(proj.bias()); // [tokens, hidden]
    }
  }

  /** Sinusoids of t, cosines first, through an MLP. */
  static final class TimestepEmbedder extends Module {
    private final Tensor frequencies;
    private final LinearImpl mlp0;
    private final LinearImpl mlp2;

    TimestepEmbedder(long hidden) {
      frequencies = register_buffer("frequencies", Tensor.create(timeFrequencies(), FREQUENCIES));
      Module mlp = register_module("mlp", new Module("mlp"));
      mlp0 = mlp.register_module("0", new LinearImpl(2 * FREQUENCIES, hidden));
      mlp2 = mlp.register_module("2", new LinearImpl(hidden, hidden));
    }

    Tensor forward(Tensor t) {
      Tensor angles = t.unsqueeze(1).mul(frequencies); // [images, 128]
      Tensor waves = torch.cat(new TensorVector(angles.cos(), angles.sin()), 1); // [images, 256]
      return mlp2.forward(torch.silu(mlp0.forward(waves))); // [images, hidden]
    }
  }

  /** One row for every class and one for the null class. */
  static final class LabelEmbedder extends Module {
    private final EmbeddingImpl embeddingTable;

    LabelEmbedder(NitConfig config) {
      embeddingTable =
          register_module(
              "embedding_table", new EmbeddingImpl(config.labelRows(), config.hiddenSize()));
    }

    Tensor forward(Tensor y) {
      return embeddingTable.forward(y); // [images, hidden]
    }
  }

  /** SiLU and Linear (two of low rank with AdaLN-LoRA): the shifts, scales and gates. */
  static final class AdaLnModulation extends Module {
    private final List<LinearImpl> linears = new ArrayList<>();

    AdaLnModulation(long hidden, long out, long rank) {
      if (rank > 0) {
        linears.add(register_module("1", new LinearImpl(hidden, rank)));
        linears.add(register_module("2", new LinearImpl(rank, out)));
      } else {
        linears.add(register_module("1", new LinearImpl(hidden, out)));
      }
    }

    /** {@code parts} tensors [tokens, hidden]: computed per image, then handed to its tokens. */
    Tensor[] forward(Tensor c, PackIndex pack, int parts) {
      Tensor m = torch.silu(c); // [images, hidden]
      for (LinearImpl linear : linears) {
        m = linear.forward(m); // [images, parts·hidden]
      }
      return m.index_select(0, pack.imageIndex()).chunk(parts, 1).get();
    }
  }

  // ---------------------------------------------------------------- Block

  /** Self-attention within each image, with QK norm and 2-D rotary positions. */
  static final class Attention extends Module {
    private final long heads;
    private final AttentionPath path;
    private final LinearImpl qkv;
    private final Optional<LayerNormImpl> qNorm;
    private final Optional<LayerNormImpl> kNorm;
    private final LinearImpl proj;

    Attention(NitConfig config, AttentionPath path) {
      long hidden = config.hiddenSize();
      this.path = path;
      heads = config.numHeads();
      qkv = register_module("qkv", new LinearImpl(hidden, 3 * hidden));
      qNorm = norm("q_norm", config);
      kNorm = norm("k_norm", config);
      proj = register_module("proj", new LinearImpl(hidden, hidden));
    }

    private Optional<LayerNormImpl> norm(String name, NitConfig config) {
      if (!config.qkNorm()) {
        return Optional.empty();
      }
      return Optional.of(
          register_module(name, layerNorm(config.headDim(), QK_NORM_EPS, /* affine= */ true)));
    }

    Tensor forward(Tensor x, PackIndex pack) {
      Tensor[] qkv =
          this.qkv
              .forward(x) // [tokens, 3·hidden]
              .unflatten(1, 3, heads, -1) // [tokens, 3, heads, headDim]
              .unbind(1)
              .get();
      Tensor q = rotate(normalize(qNorm, qkv[0]), pack.rotation()); // [tokens, heads, headDim]
      Tensor k = rotate(normalize(kNorm, qkv[1]), pack.rotation()); // [tokens, heads, headDim]
      Tensor out = path.attend(q, k, qkv[2], pack); // [tokens, heads, headDim]
      return proj.forward(out.flatten(1, 2)); // [tokens, hidden]
    }

    private static Tensor normalize(Optional<LayerNormImpl> norm, Tensor x) {
      return norm.isPresent() ? norm.get().forward(x) : x;
    }

    /** Turns each adjacent pair (a, b), read as a + ib, by its angle. */
    private static Tensor rotate(Tensor x, Tensor rotation) {
      Tensor pairs = torch.view_as_complex(x.unflatten(2, -1, 2)); // [tokens, heads, headDim/2]
      return torch.view_as_real(pairs.mul(rotation)).flatten(2, 3); // [tokens, heads, headDim]
    }
  }

  /** fc1, GELU (tanh form), fc2. */
  static final class Mlp extends Module {
    private final LinearImpl fc1;
    private final LinearImpl fc2;

    Mlp(long hidden, long width) {
      fc1 = register_module("fc1", new LinearImpl(hidden, width));
      fc2 = register_module("fc2", new LinearImpl(width, hidden));
    }

    Tensor forward(Tensor x) {
      return fc2.forward(torch.gelu(fc1.forward(x), "tanh")); // [tokens, hidden]
    }
  }

  /** A transformer block with adaptive layer norm: attention, then the MLP, each gated. */
  static final class NitBlock extends Module {
    private final AdaLnModulation adaLnModulation;
    private final LayerNormImpl norm1;
    private final Attention attn;
    private final LayerNormImpl norm2;
    private final Mlp mlp;

    NitBlock(NitConfig config, AttentionPath path) {
      long hidden = config.hiddenSize();
      adaLnModulation =
          register_module(
              "adaLN_modulation", new AdaLnModulation(hidden, 6 * hidden, config.adaLnLoraDim()));
      norm1 = register_module("norm1", layerNorm(hidden, NORM_EPS, /* affine= */ false));
      attn = register_module("attn", new Attention(config, path));
      norm2 = register_module("norm2", layerNorm(hidden, NORM_EPS, /* affine= */ false));
      mlp = register_module("mlp", new Mlp(hidden, config.mlpHidden()));
    }

    Tensor forward(Tensor x, Tensor c, PackIndex pack) {
      Tensor[] m = adaLnModulation.forward(c, pack, 6); // 6 × [tokens, hidden]
      Tensor a = attn.forward(modulate(norm1.forward(x), m[0], m[1]), pack); // [tokens, hidden]
      x = torch.addcmul(x, m[2], a); // [tokens, hidden]
      Tensor f = mlp.forward(modulate(norm2.forward(x), m[3], m[4])); // [tokens, hidden]
      return torch.addcmul(x, m[5], f); // [tokens, hidden]
    }
  }

  // ---------------------------------------------------------------- Heads

  /** Norm, modulation and Linear to the velocity of every token. */
  static final class FinalLayer extends Module {
    private final AdaLnModulation adaLnModulation;
    private final LayerNormImpl normFinal;
    private final LinearImpl linear;

    FinalLayer(NitConfig config) {
      long hidden = config.hiddenSize();
      adaLnModulation =
          register_module("adaLN_modulation", new AdaLnModulation(hidden, 2 * hidden, 0));
      normFinal = register_module("norm_final", layerNorm(hidden, NORM_EPS, /* affine= */ false));
      linear = register_module("linear", new LinearImpl(hidden, config.tokenSize()));
    }

    Tensor forward(Tensor x, Tensor c, PackIndex pack) {
      Tensor[] m = adaLnModulation.forward(c, pack, 2); // 2 × [tokens, hidden]
      return linear.forward(modulate(normFinal.forward(x), m[0], m[1])); // [tokens, C·p·p]
    }
  }

  /** The REPA head: an MLP that predicts a pretrained encoder's features. */
  static final class Projector extends Module {
    private final LinearImpl linear0;
    private final LinearImpl linear2;
    private final LinearImpl linear4;

    Projector(NitConfig config) {
      long width = config.projectorDim();
      linear0 = register_module("0", new LinearImpl(config.hiddenSize(), width));
      linear2 = register_module("2", new LinearImpl(width, width));
      linear4 = register_module("4", new LinearImpl(width, config.zDim()));
    }

    Tensor forward(Tensor x) {
      Tensor z = torch.silu(linear0.forward(x)); // [tokens, projectorDim]
      z = torch.silu(linear2.forward(z)); // [tokens, projectorDim]
      return linear4.forward(z); // [tokens, zDim]
    }
  }

  // ---------------------------------------------------------------- The whole model

  /**
   * What a forward gives.
   *
   * @param v velocity, [tokens, C, p, p]
   * @param z the REPA head's features, [tokens, zDim]; empty if they were not asked for
   */
  public record Output(Tensor v, Optional<Tensor> z) {}

  private final NitConfig config;
  private final Device device;
  private final PointerScope owned;
  private final Module root;
  private final PatchEmbedder xEmbedder;
  private final TimestepEmbedder tEmbedder;
  private final LabelEmbedder yEmbedder;
  private final List<NitBlock> blocks = new ArrayList<>();
  private final FinalLayer finalLayer;
  private final Optional<Projector> projector;
  private final Map<String, Tensor> parameters;
  private boolean closed;

  /**
   * A model with weights as libtorch leaves them: fill them from {@link Initializer} or {@link
   * Weights}.
   *
   * @param withProjector whether to have the REPA head, which only training with features uses
   */
  public NitModel(NitConfig config, boolean withProjector, Device device, AttentionPath path) {
    this.config = config;
    try (PointerScope scope = new PointerScope()) {
      this.device = new Device(device);
      root = new Module("NiT");
      xEmbedder = root.register_module("x_embedder", new PatchEmbedder(config));
      tEmbedder = root.register_module("t_embedder", new TimestepEmbedder(config.hiddenSize()));
      yEmbedder = root.register_module("y_embedder", new LabelEmbedder(config));
      Module list = root.register_module("blocks", new Module("blocks"));
      for (int i = 0; i < config.depth(); i++) {
        blocks.add(list.register_module(String.valueOf(i), new NitBlock(config, path)));
      }
      finalLayer = root.register_module("final_layer", new FinalLayer(config));
      projector =
          withProjector
              ? Optional.of(root.register_module("projector", new Projector(config)))
              : Optional.empty();
      root.to(device, false);
      parameters = checkedParameters(config, withProjector);
      owned = scope.extend();
    }
  }

  private Map<String, Tensor> checkedParameters(NitConfig config, boolean withProjector) {
    var named = root.named_parameters();
    Map<String, Tensor> found = new LinkedHashMap<>();
    for (TensorSpec spec : NitTensors.of(config, withProjector).values()) {
      Tensor tensor = named.get(found.size()).value();
      String name = named.get(found.size()).key().getString();
      if (!name.equals(spec.name()) || !Weights.shape(tensor).equals(spec.shape())) {
        throw new IllegalStateException(
            "NitModel: expected parameter "
                + spec.name()
                + " "
                + spec.shape()
                + ", found "
                + name
                + " "
                + Weights.shape(tensor));
      }
      found.put(name, tensor);
    }
    if (named.size() != found.size()) {
      throw new IllegalStateException(
          "NitModel: expected " + found.size() + " parameters, found " + named.size());
    }
    return Collections.unmodifiableMap(found);
  }

  /**
   * Predicts velocities. Results belong to the open {@code PointerScope}.
   *
   * @param x noised tokens, [tokens, C, p, p] float32
   * @param t times in [0, 1], [images] float32
   * @param y labels, [images] int64
   * @param wantFeatures whether to run the REPA head
   * @throws IllegalStateException after {@link #close}, or if the model has no REPA head and its
   *     features are asked for
   */
  public Output forward(Tensor x, Tensor t, Tensor y, PackIndex pack, boolean wantFeatures) {
    if (closed) {
      throw new IllegalStateException("NitModel is closed");
    }
    if (wantFeatures && projector.isEmpty()) {
      throw new IllegalStateException("NitModel was made without a REPA head");
    }
    Tensor c = tEmbedder.forward(t).add(yEmbedder.forward(y)); // [images, hidden]
    Tensor h = xEmbedder.forward(x); // [tokens, hidden]
    Tensor z = null;
    for (int i = 0; i < blocks.size(); i++) {
      h = blocks.get(i).forward(h, c, pack); // [tokens, hidden]
      if (wantFeatures && i + 1 == config.encoderDepth()) {
        z = projector.get().forward(h); // [tokens, zDim]
      }
    }
    Tensor v = finalLayer.forward(h, c, pack).view_as(x); // [tokens, C, p, p]
    return new Output(v, Optional.ofNullable(z));
  }

  @Override
  public Map<String, Tensor> parameters() {
    return parameters;
  }

  /** Unlike {@link Weights#load}, this asks for a REPA head in both or in neither. */
  @Override
  public void restore(TensorSource source) throws IOException {
    if (hasProjector() != source.has("projector.0.weight")) {
      throw new IllegalArgumentException(
          source.where()
              + ": expected "
              + (hasProjector() ? "a REPA head (--proj-coeff is above 0)" : "no REPA head")
              + ", found "
              + (hasProjector() ? "none" : "one"));
    }
    Weights.load(this, source);
  }

  /** The shape of the network. */
  public NitConfig config() {
    return config;
  }

  /** Where the weights lie. */
  public Device device() {
    return device;
  }

  /** Whether the model has the REPA head. */
  public boolean hasProjector() {
    return projector.isPresent();
  }

  /** Frees the weights. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      owned.close();
    }
  }

  private static LayerNormImpl layerNorm(long width, double eps, boolean affine) {
    LayerNormOptions options = new LayerNormOptions(new LongVector(new long[] {width}));
    options.eps().put(eps);
    options.elementwise_affine().put(affine);
    return new LayerNormImpl(options);
  }

  private static Tensor modulate(Tensor x, Tensor shift, Tensor scale) {
    return torch.addcmul(shift, x, scale.add(new Scalar(1f))); // [tokens, hidden]
  }
}
