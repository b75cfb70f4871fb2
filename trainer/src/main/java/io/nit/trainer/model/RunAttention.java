package io.nit.trainer.model;

import java.util.Arrays;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * One batched call for every run of neighbouring images of equal length: the cost is the sum of the
 * images' own squares. The cut along the token axis is one {@code split}, whose backward is one
 * concatenation; slices would each add a gradient of the whole pack.
 */
final class RunAttention implements AttentionPath {
  @Override
  public Tensor attend(Tensor q, Tensor k, Tensor v, PackIndex pack) {
    int[][] runs = pack.runs();
    if (runs.length == 1) {
      return run(q, k, v, runs[0]);
    }
    long[] tokens = Arrays.stream(runs).mapToLong(run -> (long) run[0] * run[1]).toArray();
    TensorVector qs = q.split(tokens, 0);
    TensorVector ks = k.split(tokens, 0);
    TensorVector vs = v.split(tokens, 0);
    TensorVector out = new TensorVector();
    for (int i = 0; i < runs.length; i++) {
      out.push_back(run(qs.get(i), ks.get(i), vs.get(i), runs[i]));
    }
    return torch.cat(out, 0); // [tokens, heads, headDim]
  }

  private static Tensor run(Tensor q, Tensor k, Tensor v, int[] run) {
    Tensor out =
        torch.scaled_dot_product_attention(
            batch(q, run), batch(k, run), batch(v, run)); // [images, heads, tokens, headDim]
    return out.transpose(1, 2).flatten(0, 1); // [images·tokens, heads, headDim]
  }

  private static Tensor batch(Tensor x, int[] run) {
    return x.view(run[0], run[1], x.size(1), x.size(2)).transpose(1, 2);
  }
}
