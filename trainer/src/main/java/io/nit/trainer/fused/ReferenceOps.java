package io.nit.trainer.fused;

import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Every piece in plain libtorch operations, on any device: the oracle of {@link CudaOps}. What is
 * no matrix product is computed in float32 and rounded once to the compute type; products,
 * attention's too, are in that type.
 */
public final class ReferenceOps implements FusedOps {
  /** Pieces in libtorch's operations. */
  public ReferenceOps() {}

  private static Tensor wide(Tensor t) {
    return t.to(ScalarType.Float);
  }

  private static Tensor plusOne(Tensor t) {
    return t.add(new Scalar(1f));
  }

  private static Tensor rowMean(Tensor t) {
    return t.mean(new long[] {-1}, true, new ScalarTypeOptional());
  }

  /** An image's row for each of its tokens, float32. */
  private static Tensor gathered(Tensor modulation, FusedPack pack) {
    return wide(modulation).index_select(0, pack.imageIndex()); // [N, D]
  }

  private static Tensor imageSums(Tensor values, FusedPack pack) {
    return torch
        .zeros(pack.images(), values.size(1))
        .to(values.device(), ScalarType.Float)
        .index_add_(0, pack.imageIndex(), values); // [B, D]
  }

  private static void put(Tensor target, Tensor value, boolean accumulate) {
    if (accumulate) {
      target.add_(value);
    } else {
      target.copy_(value);
    }
  }

  private static Tensor normed(Tensor x, double eps, Tensor inverse) {
    Tensor centred = x.sub(rowMean(x));
    inverse.copy_(rowMean(centred.square()).add_(new Scalar(eps)).rsqrt_());
    return centred.mul_(inverse);
  }

  private static Tensor inverseFor(Tensor x) {
    return torch.empty_like(rowMean(x)); // [..., 1]
  }

  @Override
  public void linear(Tensor x, Tensor weight, Tensor bias, Tensor out) {
    try (PointerScope scope = new PointerScope()) {
      torch.addmm_out(out, bias, x, weight.t());
    }
  }

  @Override
  public void inputGradient(Tensor dOut, Tensor weight, Tensor dx) {
    torch.mm_out(dx, dOut, weight);
  }

  @Override
  public void weightGradient(Tensor dOut, Tensor x, Tensor gradient, boolean accumulate) {
    try (PointerScope scope = new PointerScope()) {
      put(gradient, dOut.t().mm(x), accumulate);
    }
  }

  @Override
  public void biasGradient(Tensor rows, Tensor gradient, boolean accumulate) {
    try (PointerScope scope = new PointerScope()) {
      put(gradient, wide(rows).sum(0), accumulate);
    }
  }

  @Override
  public void adaLn(Tensor x, Tensor shift, Tensor scale, FusedPack pack, Tensor out) {
    try (PointerScope scope = new PointerScope()) {
      Tensor wide = wide(x);
      Tensor n = normed(wide, NitModel.NORM_EPS, inverseFor(wide));
      out.copy_(n.mul(plusOne(gathered(scale, pack))).add_(gathered(shift, pack)));
    }
  }

  @Override
  public void gatedAdaLn(
      Tensor x,
      Tensor y,
      Tensor gate,
      Tensor shift,
      Tensor scale,
      FusedPack pack,
      Tensor residual,
      Tensor out) {
    try (PointerScope scope = new PointerScope()) {
      residual.copy_(wide(x).add(gathered(gate, pack).mul(wide(y))));
      adaLn(residual, shift, scale, pack, out);
    }
  }

  @Override
  public void adaLnBackward(
      Tensor x,
      Tensor dOut,
      Optional<Tensor> dResidual,
      Tensor shift,
      Tensor scale,
      FusedPack pack,
      Tensor dx,
      Tensor out,
      Tensor dShift,
      Tensor dScale) {
    try (PointerScope scope = new PointerScope()) {
      Tensor wide = wide(x);
      Tensor d = wide(dOut);
      Tensor inverse = inverseFor(wide);
      Tensor n = normed(wide, NitModel.NORM_EPS, inverse);
      Tensor factor = plusOne(gathered(scale, pack));
      Tensor change = normBackward(d.mul(factor), n, inverse);
      dx.copy_(dResidual.isPresent() ? change.add_(wide(dResidual.get())) : change);
      dShift.copy_(imageSums(d, pack));
      dScale.copy_(imageSums(d.mul(n), pack));
      out.copy_(n.mul(factor).add_(gathered(shift, pack)));
    }
  }

  /** Of n = (x - mean) / σ, from dn. */
  private static Tensor normBackward(Tensor dn, Tensor n, Tensor inverse) {
    return dn.sub(rowMean(dn)).sub_(n.mul(rowMean(dn.mul(n)))).mul_(inverse);
  }

  @Override
  public void gatedResidualBackward(
      Tensor dResidual,
      Tensor y,
      Tensor gate,
      FusedPack pack,
      Tensor dy,
      Tensor dGate,
      Tensor dBias,
      boolean accumulate) {
    try (PointerScope scope = new PointerScope()) {
      Tensor d = wide(dResidual);
      dGate.copy_(imageSums(d.mul(wide(y)), pack));
      put(dBias, wide(gate).mul(imageSums(d, pack)).sum(0), accumulate);
      dy.copy_(d.mul(gathered(gate, pack)));
    }
  }

  @Override
  public void gelu(Tensor x, Tensor out) {
    torch.gelu_out(out, x, "tanh");
  }

  @Override
  public void geluBackward(
      Tensor x, Tensor dOut, Tensor dx, Tensor out, Tensor dBias, boolean accumulate) {
    try (PointerScope scope = new PointerScope()) {
      Tensor wide = wide(x);
      Tensor change = torch.gelu_backward(wide(dOut), wide, "tanh");
      put(dBias, change.sum(0), accumulate);
      dx.copy_(change);
      out.copy_(torch.gelu(wide, "tanh"));
    }
  }

  /** cosine or sine of every pair, [N, 1, d/2]. */
  private static Tensor ofPairs(Tensor table) {
    return table.unflatten(1, -1, 2).select(2, 0).unsqueeze(1);
  }

  /** Turns adjacent pairs of [N, H, d]; the other way round with a negated sine. */
  private static Tensor turned(Tensor z, Tensor cosine, Tensor sine) {
    Tensor pairs = z.unflatten(2, -1, 2); // [N, H, d/2, 2]
    Tensor a = pairs.select(3, 0);
    Tensor b = pairs.select(3, 1);
    TensorVector both =
        new TensorVector(
            a.mul(cosine).sub_(b.mul(sine)), b.mul(cosine).add_(a.mul(sine))); // 2 × [N, H, d/2]
    return torch.stack(both, 3).flatten(2, 3);
  }

  @Override
  public void rotate(Tensor qkv, Optional<QkNorm> norm, FusedPack pack, Tensor out) {
    try (PointerScope scope = new PointerScope()) {
      Tensor cosine = ofPairs(pack.cosine());
      Tensor sine = ofPairs(pack.sine());
      for (int i = 0; i < 2; i++) {
        Tensor z = wide(qkv.select(1, i)); // [N, H, d]
        if (norm.isPresent()) {
          QkNorm n = norm.get();
          z =
              normed(z, NitModel.QK_NORM_EPS, inverseFor(z))
                  .mul(wide(i == 0 ? n.qWeight() : n.kWeight()))
                  .add_(wide(i == 0 ? n.qBias() : n.kBias()));
        }
        out.select(1, i).copy_(turned(z, cosine, sine));
      }
    }
  }

  @Override
  public void rotateBackward(
      Tensor[] gradients,
      Tensor qkv,
      Optional<QkNorm> norm,
      FusedPack pack,
      Tensor dqkv,
      Optional<QkNorm> dNorm,
      boolean accumulate) {
    try (PointerScope scope = new PointerScope()) {
      Tensor cosine = ofPairs(pack.cosine());
      Tensor back = ofPairs(pack.sine()).neg();
      for (int i = 0; i < 2; i++) {
        Tensor dz = turned(wide(gradients[i]), cosine, back); // [N, H, d]
        if (norm.isPresent()) {
          QkNorm target = dNorm.orElseThrow();
          Tensor weight = wide(i == 0 ? norm.get().qWeight() : norm.get().kWeight());
          Tensor x = wide(qkv.select(1, i));
          Tensor inverse = inverseFor(x);
          Tensor n = normed(x, NitModel.QK_NORM_EPS, inverse);
          put(i == 0 ? target.qWeight() : target.kWeight(), dz.mul(n).sum(0, 1), accumulate);
          put(i == 0 ? target.qBias() : target.kBias(), dz.sum(0, 1), accumulate);
          dz = normBackward(dz.mul(weight), n, inverse);
        }
        dqkv.select(1, i).copy_(dz);
      }
      dqkv.select(1, 2).copy_(gradients[2]);
    }
  }

  private static Tensor batch(Tensor x, int[] run) {
    return x.contiguous().view(run[0], run[1], x.size(1), x.size(2)).transpose(1, 2);
  }

  private static Tensor tokens(Tensor batch) {
    return batch.transpose(1, 2).flatten(0, 1); // [images·tokens, H, d]
  }

  /** Softmax in float32 of scores in T. */
  private static Tensor weights(Tensor q, Tensor k) {
    Scalar scale = new Scalar(1 / Math.sqrt(q.size(3)));
    return wide(q.matmul(k.transpose(2, 3))).mul(scale).softmax(-1, new ScalarTypeOptional());
  }

  @Override
  public Attended attend(Tensor q, Tensor k, Tensor v, FusedPack pack) {
    Tensor out = torch.empty_like(v.contiguous());
    try (PointerScope scope = new PointerScope()) {
      int at = 0;
      for (int[] run : PackIndex.runs(pack.layout())) {
        int count = run[0] * run[1];
        try (PointerScope each = new PointerScope()) {
          Tensor weights =
              weights(batch(q.narrow(0, at, count), run), batch(k.narrow(0, at, count), run));
          Tensor values = batch(v.narrow(0, at, count), run);
          Tensor sum = weights.to(v.scalar_type()).matmul(values); // [images, H, tokens, d]
          out.narrow(0, at, count).copy_(tokens(sum));
        }
        at += count;
      }
    }
    return new Attended(out, List.of());
  }

  @Override
  public Tensor[] attendBackward(
      Tensor dOut,
      Tensor q,
      Tensor k,
      Tensor v,
      Attended attended,
      FusedPack pack,
      FusedPack.Part part) {
    List<Tensor> results = new ArrayList<>();
    for (int i = 0; i < 3; i++) {
      results.add(torch.empty_like(part.rows(dOut).contiguous()));
    }
    Scalar scale = new Scalar(1 / Math.sqrt(q.size(2)));
    int from = 0;
    for (int[] run : PackIndex.runs(part.pack().layout())) {
      int count = run[0] * run[1];
      int at = part.start() + from;
      try (PointerScope each = new PointerScope()) {
        Tensor qs = batch(q.narrow(0, at, count), run);
        Tensor ks = batch(k.narrow(0, at, count), run);
        Tensor vs = batch(v.narrow(0, at, count), run);
        Tensor d = batch(dOut.narrow(0, at, count), run);
        Tensor weights = weights(qs, ks); // [images, H, tokens, tokens]
        Tensor dWeights = wide(d.matmul(vs.transpose(2, 3)));
        Tensor mean = dWeights.mul(weights).sum(new long[] {-1}, true, new ScalarTypeOptional());
        Tensor dScores = dWeights.sub(mean).mul_(weights).mul_(scale).to(q.scalar_type());
        Tensor rounded = weights.to(q.scalar_type());
        results.get(0).narrow(0, from, count).copy_(tokens(dScores.matmul(ks)));
        results.get(1).narrow(0, from, count).copy_(tokens(dScores.transpose(2, 3).matmul(qs)));
        results.get(2).narrow(0, from, count).copy_(tokens(rounded.transpose(2, 3).matmul(d)));
      }
      from += count;
    }
    return results.toArray(new Tensor[0]);
  }

  @Override
  public void update(
      UpdateTensors tensors, Tensor scalars, double beta1, double beta2, double epsilon) {
    try (PointerScope scope = new PointerScope()) {
      Tensor[] s = scalars.unbind(0).get();
      Tensor good = s[1];
      // A gradient that is not finite comes with good = 0; 0 · NaN would be NaN.
      Tensor g = torch.nan_to_num(tensors.gradients()).mul_(torch.nan_to_num(s[0]));
      tensors.expAvg().lerp_(g, good.mul(new Scalar(1 - beta1)));
      tensors.expAvgSq().lerp_(g.square(), good.mul(new Scalar(1 - beta2)));
      Tensor scale = tensors.expAvgSq().sqrt().div_(s[3]).add_(new Scalar(epsilon));
      Tensor decay = plusOne(good.mul(s[4].sub(new Scalar(1f))));
      Tensor change = tensors.expAvg().div(scale).mul_(good.mul(s[2]));
      tensors.parameters().mul_(decay).sub_(change);
      tensors.average().ifPresent(a -> a.lerp_(tensors.parameters(), good.mul(s[5])));
      tensors.copy().ifPresent(copy -> copy.copy_(tensors.parameters()));
    }
  }

  @Override
  public void close() {}
}
