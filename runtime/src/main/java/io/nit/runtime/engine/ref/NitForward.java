package io.nit.runtime.engine.ref;

import static io.nit.runtime.engine.ref.Functions.gatedResidual;
import static io.nit.runtime.engine.ref.Functions.geluTanh;
import static io.nit.runtime.engine.ref.Functions.layerNorm;
import static io.nit.runtime.engine.ref.Functions.normModulate;
import static io.nit.runtime.engine.ref.Functions.silu;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.RopeTables;
import io.nit.core.safetensors.TensorSource;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * NiT from tokens to velocity, in the order of the paper's figure. The modulations are computed
 * once an image, not once a token.
 *
 * <p>Legend: N tokens, B images, D hidden, H heads, d headDim, M MLP width, C·p·p values of a
 * token.
 */
final class NitForward {
  private final NitConfig config;
  private final Linear xEmbedder;
  private final TimestepEmbedder tEmbedder;
  private final LabelEmbedder yEmbedder;
  private final List<NitBlock> blocks = new ArrayList<>();
  private final FinalLayer finalLayer;
  private final Projector projector; // null in a checkpoint without the REPA head

  NitForward(TensorSource weights, NitConfig config) throws IOException {
    this.config = config;
    this.xEmbedder = Linear.of(weights, "x_embedder.proj");
    this.tEmbedder = TimestepEmbedder.of(weights);
    this.yEmbedder = LabelEmbedder.of(weights, config);
    for (int i = 0; i < config.depth(); i++) {
      blocks.add(NitBlock.of(weights, config, "blocks." + i));
    }
    this.finalLayer = FinalLayer.of(weights);
    this.projector = weights.has("projector.0.weight") ? Projector.of(weights) : null;
  }

  boolean hasProjector() {
    return projector != null;
  }

  /** The velocity, [N, C, p, p]. */
  float[] velocity(float[] tokens, float[] t, long[] y, PackLayout layout, RopeTables rope) {
    float[] c = condition(t, y); // [B, D]
    float[] x = xEmbedder.forward(tokens); // [N, D]
    for (NitBlock block : blocks) {
      x = block.forward(x, c, layout, rope); // [N, D]
    }
    return finalLayer.forward(x, c, layout); // [N, C·p·p]
  }

  /** The REPA head's features of the tokens after block encoderDepth, [N, zDim]. */
  float[] features(float[] tokens, float[] t, long[] y, PackLayout layout, RopeTables rope) {
    float[] c = condition(t, y); // [B, D]
    float[] x = xEmbedder.forward(tokens); // [N, D]
    for (NitBlock block : blocks.subList(0, config.encoderDepth())) {
      x = block.forward(x, c, layout, rope); // [N, D]
    }
    return projector.forward(x); // [N, zDim]
  }

  private float[] condition(float[] t, long[] y) {
    float[] c = tEmbedder.forward(t); // [B, D]
    float[] label = yEmbedder.forward(y); // [B, D]
    for (int i = 0; i < c.length; i++) {
      c[i] += label[i];
    }
    return c;
  }

  /** A time in [0, 1] as 128 cosines and 128 sines, then an MLP. */
  private record TimestepEmbedder(Linear mlp0, Linear mlp2) {
    private static final int HALF = 128;

    static TimestepEmbedder of(TensorSource weights) throws IOException {
      return new TimestepEmbedder(
          Linear.of(weights, "t_embedder.mlp.0"), Linear.of(weights, "t_embedder.mlp.2"));
    }

    float[] forward(float[] t) {
      float[] waves = new float[t.length * 2 * HALF]; // [B, 256]
      for (int b = 0; b < t.length; b++) {
        for (int i = 0; i < HALF; i++) {
          double angle = t[b] * Math.exp(-Math.log(10_000) * i / HALF);
          waves[b * 2 * HALF + i] = (float) Math.cos(angle);
          waves[b * 2 * HALF + HALF + i] = (float) Math.sin(angle);
        }
      }
      return mlp2.forward(silu(mlp0.forward(waves))); // [B, D]
    }
  }

  /** A row of a table for every label, the null class included. */
  private record LabelEmbedder(float[] table, int hidden) {
    static LabelEmbedder of(TensorSource weights, NitConfig config) throws IOException {
      return new LabelEmbedder(
          weights.tensor("y_embedder.embedding_table.weight").toFloats(), config.hiddenSize());
    }

    float[] forward(long[] y) {
      float[] rows = new float[y.length * hidden]; // [B, D]
      for (int b = 0; b < y.length; b++) {
        System.arraycopy(table, Math.toIntExact(y[b]) * hidden, rows, b * hidden, hidden);
      }
      return rows;
    }
  }

  /** Attention and MLP, each between a modulated norm and a gate. */
  private record NitBlock(List<Linear> adaLnModulation, Attention attn, Linear fc1, Linear fc2) {
    private static final int CHUNKS = 6; // shift1, scale1, gate1, shift2, scale2, gate2

    static NitBlock of(TensorSource weights, NitConfig config, String name) throws IOException {
      List<Linear> modulation = new ArrayList<>();
      modulation.add(Linear.of(weights, name + ".adaLN_modulation.1"));
      if (config.useAdaLnLora()) {
        modulation.add(Linear.of(weights, name + ".adaLN_modulation.2"));
      }
      return new NitBlock(
          modulation,
          Attention.of(weights, config, name + ".attn"),
          Linear.of(weights, name + ".mlp.fc1"),
          Linear.of(weights, name + ".mlp.fc2"));
    }

    float[] forward(float[] x, float[] c, PackLayout layout, RopeTables rope) {
      int[] image = layout.imageIndex();
      int hidden = fc2.out();
      float[] m = silu(c); // [B, D]
      for (Linear linear : adaLnModulation) {
        m = linear.forward(m); // [B, 6·D] after the last
      }
      float[] a = normModulate(x, hidden, m, CHUNKS, 0, image); // [N, D]
      a = attn.forward(a, layout, rope); // [N, D]
      x = gatedResidual(x, a, hidden, m, CHUNKS, 2, image); // [N, D]
      a = normModulate(x, hidden, m, CHUNKS, 3, image); // [N, D]
      a = fc2.forward(geluTanh(fc1.forward(a))); // [N, M], then [N, D]
      return gatedResidual(x, a, hidden, m, CHUNKS, 5, image); // [N, D]
    }
  }

  /** Softmax attention within each image, with rotary positions. */
  private record Attention(
      Linear qkv, QkNorm qNorm, QkNorm kNorm, Linear proj, int heads, int headDim) {

    static Attention of(TensorSource weights, NitConfig config, String name) throws IOException {
      return new Attention(
          Linear.of(weights, name + ".qkv"),
          config.qkNorm() ? QkNorm.of(weights, name + ".q_norm") : null,
          config.qkNorm() ? QkNorm.of(weights, name + ".k_norm") : null,
          Linear.of(weights, name + ".proj"),
          config.numHeads(),
          config.headDim());
    }

    float[] forward(float[] x, PackLayout layout, RopeTables rope) {
      float[] qkv = this.qkv.forward(x); // [N, 3, H, d]
      float[] mixed = new float[layout.tokens() * heads * headDim]; // [N, H, d]
      IntStream.range(0, layout.images() * heads)
          .parallel()
          .forEach(task -> attend(qkv, mixed, layout, rope, task / heads, task % heads));
      return proj.forward(mixed); // [N, D]
    }

    /** One head of one image. */
    private void attend(
        float[] qkv, float[] mixed, PackLayout layout, RopeTables rope, int image, int head) {
      int length = layout.tokens(image);
      int start = layout.start(image);
      double[] keys = new double[headDim * length]; // [d, length]: scores run along tokens
      double[] row = new double[headDim];
      for (int k = 0; k < length; k++) {
        rotated(qkv, start + k, 1, head, kNorm, rope, row);
        for (int i = 0; i < headDim; i++) {
          keys[i * length + k] = row[i];
        }
      }
      double[] scores = new double[length];
      double[] sum = new double[headDim];
      for (int n = start; n < start + length; n++) {
        rotated(qkv, n, 0, head, qNorm, rope, row);
        Arrays.fill(scores, 0);
        for (int i = 0; i < headDim; i++) {
          double q = row[i] / Math.sqrt(headDim);
          int at = i * length;
          for (int k = 0; k < length; k++) {
            scores[k] += q * keys[at + k];
          }
        }
        softmax(scores);
        Arrays.fill(sum, 0);
        for (int k = 0; k < length; k++) {
          int at = at(start + k, 2, head);
          for (int i = 0; i < headDim; i++) {
            sum[i] += scores[k] * qkv[at + i];
          }
        }
        for (int i = 0; i < headDim; i++) {
          mixed[(n * heads + head) * headDim + i] = (float) sum[i];
        }
      }
    }

    /** q (part 0) or k (part 1) of a token after norm and rotation, [d]. */
    private void rotated(
        float[] qkv, int token, int part, int head, QkNorm norm, RopeTables rope, double[] row) {
      int at = at(token, part, head);
      if (norm == null) {
        for (int i = 0; i < headDim; i++) {
          row[i] = qkv[at + i];
        }
      } else {
        norm.forward(qkv, at, row);
      }
      for (int i = 0; i < headDim; i += 2) { // pairs are adjacent
        int angle = token * headDim + i;
        double a = row[i];
        double b = row[i + 1];
        row[i] = a * rope.cos()[angle] - b * rope.sin()[angle];
        row[i + 1] = b * rope.cos()[angle + 1] + a * rope.sin()[angle + 1];
      }
    }

    private int at(int token, int part, int head) {
      return ((token * 3 + part) * heads + head) * headDim;
    }

    private static void softmax(double[] scores) {
      double max = Double.NEGATIVE_INFINITY;
      for (double score : scores) {
        max = Math.max(max, score);
      }
      double total = 0;
      for (int k = 0; k < scores.length; k++) {
        scores[k] = Math.exp(scores[k] - max);
        total += scores[k];
      }
      for (int k = 0; k < scores.length; k++) {
        scores[k] /= total;
      }
    }
  }

  /** LayerNorm over headDim with affine. */
  private record QkNorm(float[] weight, float[] bias) {
    static QkNorm of(TensorSource weights, String name) throws IOException {
      return new QkNorm(
          weights.tensor(name + ".weight").toFloats(), weights.tensor(name + ".bias").toFloats());
    }

    void forward(float[] x, int at, double[] y) {
      layerNorm(x, at, weight.length, 1e-5, y);
      for (int i = 0; i < weight.length; i++) {
        y[i] = y[i] * weight[i] + bias[i];
      }
    }
  }

  /** Modulated norm and a Linear to the values of a token, laid out (c, p1, p2). */
  private record FinalLayer(Linear adaLnModulation, Linear linear) {
    private static final int CHUNKS = 2; // shift, scale

    static FinalLayer of(TensorSource weights) throws IOException {
      return new FinalLayer(
          Linear.of(weights, "final_layer.adaLN_modulation.1"),
          Linear.of(weights, "final_layer.linear"));
    }

    float[] forward(float[] x, float[] c, PackLayout layout) {
      float[] m = adaLnModulation.forward(silu(c)); // [B, 2·D]
      x = normModulate(x, linear.in(), m, CHUNKS, 0, layout.imageIndex()); // [N, D]
      return linear.forward(x); // [N, C·p·p]
    }
  }

  /** The REPA head. */
  private record Projector(Linear linear0, Linear linear2, Linear linear4) {
    static Projector of(TensorSource weights) throws IOException {
      return new Projector(
          Linear.of(weights, "projector.0"),
          Linear.of(weights, "projector.2"),
          Linear.of(weights, "projector.4"));
    }

    float[] forward(float[] x) {
      x = silu(linear0.forward(x)); // [N, projectorDim]
      x = silu(linear2.forward(x)); // [N, projectorDim]
      return linear4.forward(x); // [N, zDim]
    }
  }
}
