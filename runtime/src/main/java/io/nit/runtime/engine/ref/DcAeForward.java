package io.nit.runtime.engine.ref;

import static io.nit.runtime.engine.ref.Functions.relu;
import static io.nit.runtime.engine.ref.Functions.silu;

import io.nit.core.config.DcAeConfig;
import io.nit.core.config.DcAeConfig.Activation;
import io.nit.core.config.DcAeConfig.Block;
import io.nit.core.config.DcAeConfig.Norm;
import io.nit.core.config.DcAeConfig.Stage;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.HostTensor;
import java.io.IOException;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * A DC-AE's encoder and decoder in plain Java, straight from a checkpoint and for one picture at a
 * time: what exported files are measured against. Values are single precision, every sum runs in
 * double precision. Attention is the definition, a mean over all tokens weighed by {@code
 * relu(k)·relu(q)}, so its cost grows with the square of a stage's size; meant for small pictures.
 *
 * <p>Weights are read where they are used, so that heap holds one layer's at most; the source stays
 * open as long as this is used, and the caller closes it. Safe for several threads if the source
 * is.
 *
 * <p>Legend: H and W the stage's size, C channels, N = H·W, d headDim. Tensors between the layers
 * are [H, W, C].
 */
public final class DcAeForward {
  private static final double NORM_EPSILON = 1e-5;
  private static final double ATTENTION_EPSILON = 1e-15;
  private static final int PATCH_VALUES = 1 << 22; // of a convolution's input copied at once

  private final TensorSource weights;
  private final DcAeConfig config;

  /** A stage's tensor, [height, width, channels]. */
  private record Grid(float[] values, int height, int width, int channels) {
    int pixels() {
      return height * width;
    }

    Grid with(float[] values) {
      return new Grid(values, height, width, values.length / pixels());
    }

    /** The sum with a grid of the same extents. */
    Grid plus(Grid other) {
      float[] sum = new float[values.length];
      for (int i = 0; i < sum.length; i++) {
        sum[i] = values[i] + other.values[i];
      }
      return with(sum);
    }
  }

  /**
   * Of a checkpoint.
   *
   * @param weights the autoencoder's tensors, of any float type
   * @throws IllegalArgumentException naming every tensor that does not fit {@code config}
   */
  public DcAeForward(TensorSource weights, DcAeConfig config) {
    DcAeTensors.require(config, weights.specs(), weights.where());
    this.weights = weights;
    this.config = config;
  }

  /**
   * The latent of a picture, without the scaling factor.
   *
   * @param rgb [3, height, width] in [-1, 1]
   * @param height pixels, a multiple of the config's factor
   * @param width pixels, a multiple of the config's factor
   * @return [C, height/factor, width/factor]
   * @throws IllegalArgumentException if the sizes do not fit
   * @throws IOException if a weight cannot be read
   */
  public float[] encode(float[] rgb, int height, int width) throws IOException {
    int f = config.factor();
    if (height < 1 || width < 1 || height % f != 0 || width % f != 0) {
      throw new IllegalArgumentException(
          "picture: expected sides that are multiples of " + f + ", found " + height + "x" + width);
    }
    List<Stage> stages = config.encoder();
    int first = config.firstEncoderStage();
    Grid x = fromPlanes("rgb", rgb, DcAeConfig.IN_CHANNELS, height, width);
    x = first == 0 ? conv("encoder.conv_in", x, 1) : downConv("encoder.conv_in", x);
    for (int i = first; i < stages.size(); i++) {
      Stage stage = stages.get(i);
      String name = "encoder.down_blocks." + i + ".";
      for (int j = 0; j < stage.layers(); j++) {
        x = block(name + j, x, stage); // [H, W, C]
      }
      if (i + 1 < stages.size()) {
        int out = stages.get(i + 1).channels();
        Grid means = groupMeans(unshuffle(x), out);
        x = downConv(name + stage.layers(), x).plus(means); // [H/2, W/2, C']
      }
    }
    Grid latent = conv("encoder.conv_out", x, 1);
    if (config.encoderOutShortcut()) {
      latent = latent.plus(groupMeans(x, config.latentChannels()));
    }
    return toPlanes(latent);
  }

  /**
   * The picture of a latent, without the scaling factor.
   *
   * @param latent [C, h, w]
   * @return [3, h·factor, w·factor], not clamped
   * @throws IllegalArgumentException if the sizes do not fit
   * @throws IOException if a weight cannot be read
   */
  public float[] decode(float[] latent, int h, int w) throws IOException {
    List<Stage> stages = config.decoder();
    int first = config.firstDecoderStage();
    Grid z = fromPlanes("latent", latent, config.latentChannels(), h, w);
    Grid x = conv("decoder.conv_in", z, 1);
    if (config.decoderInShortcut()) {
      x = x.plus(repeat(z, config.decoderWidth()));
    }
    for (int i = stages.size() - 1; i >= first; i--) {
      Stage stage = stages.get(i);
      String name = "decoder.up_blocks." + i + ".";
      int at = 0;
      if (i + 1 < stages.size()) {
        Grid copies = shuffle(repeat(x, 4 * stage.channels()));
        x = upConv(name + "0", x).plus(copies); // [2·H, 2·W, C']
        at = 1;
      }
      for (int j = 0; j < stage.layers(); j++) {
        x = block(name + (at + j), x, stage); // [H, W, C]
      }
    }
    x = norm("decoder.norm_out", x, Norm.RMS_NORM);
    x = act(x, config.decoderConvAct());
    return toPlanes(
        first == 0 ? conv("decoder.conv_out", x, 1) : upConv("decoder.conv_out", x)); // [H, W, 3]
  }

  // ------------------------------------------------------------------ blocks

  private Grid block(String name, Grid x, Stage stage) throws IOException {
    if (stage.block() == Block.RES_BLOCK) {
      Grid y = act(conv(name + ".conv1", x, 1), stage.act());
      return x.plus(norm(name + ".norm", conv(name + ".conv2", y, 1), stage.norm()));
    }
    return gluMbConv(name + ".conv_out", attention(name + ".attn", x, stage));
  }

  private Grid attention(String name, Grid x, Stage stage) throws IOException {
    int c = stage.channels();
    int d = config.attentionHeadDim();
    int scales = 1 + stage.multiscales().size();
    Grid qkv = // [H, W, 3·C], all of q, then all of k, then all of v
        join(conv(name + ".to_q", x, 1), conv(name + ".to_k", x, 1), conv(name + ".to_v", x, 1));
    Grid[] all = new Grid[scales];
    all[0] = qkv;
    for (int i = 1; i < scales; i++) {
      String scale = name + ".to_qkv_multiscale." + (i - 1);
      all[i] = groupConv(scale + ".proj_out", groupConv(scale + ".proj_in", qkv));
    }
    Grid t = join(all); // [H, W, scales·3·C]
    float[] attended = new float[x.pixels() * scales * c];
    // A pseudo-head takes 3·d channels in a row, whichever of to_q, to_k and to_v they are from.
    IntStream.range(0, scales * c / d)
        .parallel()
        .forEach(head -> attend(t, head, d, attended, scales * c));
    Grid y = conv(name + ".to_out", x.with(attended), 1);
    return x.plus(norm(name + ".norm_out", y, Norm.RMS_NORM));
  }

  /** {@code o_n = Σ_m v_m·(k_m·q_n) / (Σ_m k_m·q_n + 1e-15)} of one pseudo-head. */
  private static void attend(Grid t, int head, int d, float[] attended, int width) {
    double[] sum = new double[d];
    for (int n = 0; n < t.pixels(); n++) {
      int q = n * t.channels + head * 3 * d;
      Arrays.fill(sum, 0);
      double total = ATTENTION_EPSILON;
      for (int m = 0; m < t.pixels(); m++) {
        int k = m * t.channels + head * 3 * d + d;
        double weight = 0;
        for (int i = 0; i < d; i++) {
          weight += (double) Math.max(t.values[k + i], 0) * Math.max(t.values[q + i], 0);
        }
        total += weight;
        for (int i = 0; i < d; i++) {
          sum[i] += weight * t.values[k + d + i];
        }
      }
      for (int i = 0; i < d; i++) {
        attended[n * width + head * d + i] = (float) (sum[i] / total);
      }
    }
  }

  private Grid gluMbConv(String name, Grid x) throws IOException {
    Grid u = act(conv(name + ".conv_inverted", x, 1), Activation.SILU); // [H, W, 8·C]
    u = groupConv(name + ".conv_depth", u);
    int half = u.channels / 2;
    float[] gated = new float[u.pixels() * half];
    for (int n = 0; n < u.pixels(); n++) {
      for (int i = 0; i < half; i++) {
        double gate = u.values[n * 2 * half + half + i]; // the second half
        gated[n * half + i] = (float) (u.values[n * 2 * half + i] * (gate / (1 + Math.exp(-gate))));
      }
    }
    Grid y = conv(name + ".conv_point", u.with(gated), 1);
    return x.plus(norm(name + ".norm", y, Norm.RMS_NORM));
  }

  // ------------------------------------------------------------------ layers

  private Grid downConv(String name, Grid x) throws IOException {
    return config.pixelUnshuffle()
        ? unshuffle(conv(name + ".conv", x, 1))
        : conv(name + ".conv", x, 2);
  }

  private Grid upConv(String name, Grid x) throws IOException {
    return config.interpolate()
        ? conv(name + ".conv", nearest(x), 1)
        : shuffle(conv(name + ".conv", x, 1));
  }

  /** A convolution with zeros around; a Linear is one of kernel 1. */
  private Grid conv(String name, Grid x, int stride) throws IOException {
    HostTensor weight = weights.tensor(name + ".weight");
    int out = Math.toIntExact(weight.shape().dim(0));
    int kernel = weight.shape().rank() == 4 ? Math.toIntExact(weight.shape().dim(2)) : 1;
    int in = x.channels * kernel * kernel;
    Linear linear = new Linear(weight.to(DType.F32).floats(), bias(name, out), in, out);
    if (kernel == 1) {
      return x.with(linear.forward(x.values));
    }
    int height = (x.height + stride - 1) / stride;
    int width = (x.width + stride - 1) / stride;
    float[] y = new float[height * width * out];
    int rows = Math.max(1, PATCH_VALUES / (in * width)); // rows of pixels at once
    for (int from = 0; from < height; from += rows) {
      int to = Math.min(height, from + rows);
      float[] part = linear.forward(patches(x, kernel, stride, from, to, width));
      System.arraycopy(part, 0, y, from * width * out, part.length);
    }
    return new Grid(y, height, width, out);
  }

  /** What each output pixel of rows {@code from} to {@code to} sees, [pixels, C·k·k]. */
  private static float[] patches(Grid x, int kernel, int stride, int from, int to, int width) {
    int c = x.channels;
    int size = c * kernel * kernel;
    float[] patches = new float[(to - from) * width * size];
    IntStream.range(0, (to - from) * width)
        .parallel()
        .forEach(
            n -> {
              int top = (from + n / width) * stride - kernel / 2;
              int left = n % width * stride - kernel / 2;
              for (int tap = 0; tap < kernel * kernel; tap++) {
                int h = top + tap / kernel;
                int w = left + tap % kernel;
                if (h >= 0 && h < x.height && w >= 0 && w < x.width) {
                  int pixel = (h * x.width + w) * c;
                  for (int i = 0; i < c; i++) {
                    patches[n * size + i * kernel * kernel + tap] = x.values[pixel + i];
                  }
                }
              }
            });
    return patches;
  }

  /** A convolution whose outputs see a few channels each; as many outputs as inputs. */
  private Grid groupConv(String name, Grid x) throws IOException {
    HostTensor tensor = weights.tensor(name + ".weight");
    float[] weight = tensor.toFloats(); // [C, group, k, k]
    int group = Math.toIntExact(tensor.shape().dim(1));
    int kernel = Math.toIntExact(tensor.shape().dim(2));
    int c = x.channels;
    float[] bias = bias(name, c);
    float[] y = new float[x.values.length];
    IntStream.range(0, x.pixels())
        .parallel()
        .forEach(
            n -> {
              double[] sum = new double[c];
              for (int tap = 0; tap < kernel * kernel; tap++) {
                int h = n / x.width + tap / kernel - kernel / 2;
                int w = n % x.width + tap % kernel - kernel / 2;
                if (h < 0 || h >= x.height || w < 0 || w >= x.width) {
                  continue;
                }
                int pixel = (h * x.width + w) * c;
                for (int o = 0; o < c; o++) {
                  int first = o / group * group;
                  for (int i = 0; i < group; i++) {
                    sum[o] +=
                        (double) weight[(o * group + i) * kernel * kernel + tap]
                            * x.values[pixel + first + i];
                  }
                }
              }
              for (int o = 0; o < c; o++) {
                y[n * c + o] = (float) (sum[o] + bias[o]);
              }
            });
    return x.with(y);
  }

  private float[] bias(String name, int out) throws IOException {
    return weights.has(name + ".bias") ? values(name + ".bias") : new float[out];
  }

  private float[] values(String name) throws IOException {
    return weights.tensor(name).toFloats();
  }

  private Grid norm(String name, Grid x, Norm norm) throws IOException {
    float[] weight = values(name + ".weight");
    float[] bias = values(name + ".bias");
    boolean batch = norm == Norm.BATCH_NORM;
    float[] mean = batch ? values(name + ".running_mean") : new float[weight.length];
    float[] variance = batch ? values(name + ".running_var") : null;
    int c = x.channels;
    float[] y = new float[x.values.length];
    for (int n = 0; n < x.pixels(); n++) {
      double squares = 0; // a pixel's own, where no statistics are given
      for (int i = 0; i < c; i++) {
        squares += (double) x.values[n * c + i] * x.values[n * c + i];
      }
      double root = Math.sqrt(squares / c + NORM_EPSILON);
      for (int i = 0; i < c; i++) {
        double spread = batch ? Math.sqrt(variance[i] + NORM_EPSILON) : root;
        y[n * c + i] = (float) ((x.values[n * c + i] - mean[i]) / spread * weight[i] + bias[i]);
      }
    }
    return x.with(y);
  }

  private static Grid act(Grid x, Activation act) {
    return x.with(act == Activation.RELU ? relu(x.values) : silu(x.values));
  }

  // ------------------------------------------------------------------ channels and pixels

  /** The channels of several grids, one after the other. */
  private static Grid join(Grid... parts) {
    int c = 0;
    for (Grid part : parts) {
      c += part.channels;
    }
    float[] joined = new float[parts[0].pixels() * c];
    int at = 0;
    for (Grid part : parts) {
      for (int n = 0; n < part.pixels(); n++) {
        System.arraycopy(part.values, n * part.channels, joined, n * c + at, part.channels);
      }
      at += part.channels;
    }
    return parts[0].with(joined);
  }

  /** Pixel-unshuffle by 2: channel 4·c + 2·i + j holds row parity i and column parity j. */
  private static Grid unshuffle(Grid x) {
    Grid y = new Grid(new float[x.values.length], x.height / 2, x.width / 2, 4 * x.channels);
    eachShuffled(y, x, (small, large) -> y.values[small] = x.values[large]);
    return y;
  }

  /** Pixel-shuffle by 2, the other way round. */
  private static Grid shuffle(Grid x) {
    Grid y = new Grid(new float[x.values.length], 2 * x.height, 2 * x.width, x.channels / 4);
    eachShuffled(x, y, (small, large) -> y.values[large] = x.values[small]);
    return y;
  }

  private interface Indices {
    void take(int small, int large);
  }

  private static void eachShuffled(Grid small, Grid large, Indices indices) {
    for (int h = 0; h < large.height; h++) {
      for (int w = 0; w < large.width; w++) {
        for (int c = 0; c < large.channels; c++) {
          int channel = 4 * c + 2 * (h % 2) + w % 2;
          indices.take(
              (h / 2 * small.width + w / 2) * small.channels + channel,
              (h * large.width + w) * large.channels + c);
        }
      }
    }
  }

  /** Each pixel as 2×2 pixels. */
  private static Grid nearest(Grid x) {
    return shuffle(repeat(x, 4 * x.channels));
  }

  /** {@code out} channels, each the mean of as many channels in a row. */
  private static Grid groupMeans(Grid x, int out) {
    int group = x.channels / out;
    float[] y = new float[x.pixels() * out];
    for (int i = 0; i < y.length; i++) {
      double sum = 0;
      for (int j = 0; j < group; j++) {
        sum += x.values[i * group + j];
      }
      y[i] = (float) (sum / group);
    }
    return x.with(y);
  }

  /** {@code out} channels, each channel of x as many times in a row. */
  private static Grid repeat(Grid x, int out) {
    int times = out / x.channels;
    float[] y = new float[x.pixels() * out];
    for (int i = 0; i < y.length; i++) {
      y[i] = x.values[i / times];
    }
    return x.with(y);
  }

  private static Grid fromPlanes(String what, float[] planes, int channels, int height, int width) {
    if (height < 1 || width < 1 || planes.length != (long) channels * height * width) {
      throw new IllegalArgumentException(
          what
              + ": expected "
              + channels
              + " planes of "
              + height
              + "x"
              + width
              + ", found "
              + planes.length
              + " values");
    }
    int pixels = height * width;
    float[] values = new float[planes.length];
    for (int c = 0; c < channels; c++) {
      for (int n = 0; n < pixels; n++) {
        values[n * channels + c] = planes[c * pixels + n];
      }
    }
    return new Grid(values, height, width, channels);
  }

  private static float[] toPlanes(Grid x) {
    float[] planes = new float[x.values.length];
    for (int c = 0; c < x.channels; c++) {
      for (int n = 0; n < x.pixels(); n++) {
        planes[c * x.pixels() + n] = x.values[n * x.channels + c];
      }
    }
    return planes;
  }
}
