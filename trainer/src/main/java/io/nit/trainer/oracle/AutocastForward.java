package io.nit.trainer.oracle;

import io.nit.core.config.NitConfig;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import java.util.Map;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * The forward of {@link NitModel} with the types that PyTorch's autocast gives it, which these
 * bindings cannot switch on: linear layers and attention in a 16-bit type, norms and what they
 * multiply in single precision, sums in the wider of their two types. In single precision it is the
 * model's own forward.
 */
final class AutocastForward {
  private final NitConfig config;
  private final Map<String, Tensor> weights;
  private final AttentionPath path;
  private final torch.ScalarType type;

  /**
   * A forward over a model's weights, which stay the model's.
   *
   * @param type of linear layers and attention
   */
  AutocastForward(NitModel model, AttentionPath path, torch.ScalarType type) {
    this.config = model.config();
    this.weights = model.parameters();
    this.path = path;
    this.type = type;
  }

  /**
   * Velocities, [tokens, C, p, p] float32; they belong to the open {@code PointerScope}.
   *
   * @param x [tokens, C, p, p] float32
   * @param t [images] float32
   * @param y [images] int64
   */
  Tensor run(Tensor x, Tensor t, Tensor y, PackIndex pack) {
    Tensor c = times(t).add(torch.embedding(weight("y_embedder.embedding_table.weight"), y));
    Tensor silu = torch.silu(c); // [images, hidden]
    Tensor h = linear("x_embedder.proj", x.flatten(1, -1)); // [tokens, hidden]
    for (int i = 0; i < config.depth(); i++) {
      h = block("blocks." + i, h, silu, pack);
    }
    Tensor[] m = modulation("final_layer.adaLN_modulation", silu, pack, 2);
    Tensor v = linear("final_layer.linear", modulate(h, m[0], m[1])); // [tokens, C·p·p]
    return v.to(torch.ScalarType.Float).view_as(x);
  }

  private Tensor times(Tensor t) {
    float[] frequencies = NitModel.timeFrequencies();
    Tensor angles =
        t.unsqueeze(1).mul(Tensor.create(frequencies, frequencies.length)); // [images, 128]
    Tensor waves = torch.cat(new TensorVector(angles.cos(), angles.sin()), 1); // [images, 256]
    return linear("t_embedder.mlp.2", torch.silu(linear("t_embedder.mlp.0", waves)));
  }

  private Tensor block(String name, Tensor h, Tensor silu, PackIndex pack) {
    Tensor[] m = modulation(name + ".adaLN_modulation", silu, pack, 6); // 6 × [tokens, hidden]
    Tensor a = attention(name + ".attn", modulate(h, m[0], m[1]), pack); // [tokens, hidden]
    h = h.add(m[2].mul(a)); // [tokens, hidden]
    Tensor f = linear(name + ".mlp.fc1", modulate(h, m[3], m[4])); // [tokens, 4·hidden]
    f = linear(name + ".mlp.fc2", torch.gelu(f, "tanh")); // [tokens, hidden]
    return h.add(m[5].mul(f)); // [tokens, hidden]
  }

  private Tensor attention(String name, Tensor x, PackIndex pack) {
    Tensor[] qkv =
        linear(name + ".qkv", x) // [tokens, 3·hidden]
            .unflatten(1, 3, config.numHeads(), -1) // [tokens, 3, heads, headDim]
            .unbind(1)
            .get();
    Tensor q = rotated(name + ".q_norm", qkv[0], pack);
    Tensor k = rotated(name + ".k_norm", qkv[1], pack);
    Tensor out = path.attend(q, k, qkv[2], pack); // [tokens, heads, headDim]
    return linear(name + ".proj", out.flatten(1, 2)); // [tokens, hidden]
  }

  /** Norm and rotation in single precision, rounded for the products of attention. */
  private Tensor rotated(String norm, Tensor x, PackIndex pack) {
    Tensor wide = x.to(torch.ScalarType.Float);
    if (config.qkNorm()) {
      wide =
          torch.layer_norm(
              wide,
              new long[] {config.headDim()},
              new TensorOptional(weight(norm + ".weight")),
              new TensorOptional(weight(norm + ".bias")),
              NitModel.QK_NORM_EPS,
              false);
    }
    Tensor pairs = torch.view_as_complex(wide.unflatten(2, -1, 2).contiguous());
    return torch.view_as_real(pairs.mul(pack.rotation())).flatten(2, 3).to(type);
  }

  /** The parts of a modulation, each token's own. */
  private Tensor[] modulation(String name, Tensor silu, PackIndex pack, int parts) {
    Tensor m = linear(name + ".1", silu);
    if (weights.containsKey(name + ".2.weight")) {
      m = linear(name + ".2", m);
    }
    return m.index_select(0, pack.imageIndex()).chunk(parts, 1).get();
  }

  private Tensor modulate(Tensor x, Tensor shift, Tensor scale) {
    Tensor normed =
        torch.layer_norm(
            x.to(torch.ScalarType.Float),
            new long[] {config.hiddenSize()},
            new TensorOptional(),
            new TensorOptional(),
            NitModel.NORM_EPS,
            false);
    return normed.mul(scale.add(new Scalar(1f))).add(shift); // [tokens, hidden] float32
  }

  private Tensor linear(String name, Tensor x) {
    Tensor weight = weight(name + ".weight").flatten(1, -1).to(type);
    return torch.linear(x.to(type), weight, weight(name + ".bias").to(type));
  }

  private Tensor weight(String name) {
    return weights.get(name);
  }
}
