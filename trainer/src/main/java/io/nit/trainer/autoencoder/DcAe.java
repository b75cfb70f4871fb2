package io.nit.trainer.autoencoder;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.DcAeConfig.Activation;
import io.nit.core.config.DcAeConfig.Block;
import io.nit.core.config.DcAeConfig.Norm;
import io.nit.core.config.DcAeConfig.Stage;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.TensorSpec;
import io.nit.trainer.model.Network;
import io.nit.trainer.model.Scopes;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.function.BiConsumer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.GradMode;
import org.bytedeco.pytorch.LongOptional;
import org.bytedeco.pytorch.Module;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.ScalarTypeOptional;
import org.bytedeco.pytorch.StringTensorDict;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptional;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.MemoryFormat;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * DC-AE: a deep-compression autoencoder (arXiv 2410.10733). The classes below stand in the order of
 * the forward; the module names they register are diffusers' checkpoint keys.
 *
 * <p>Legend of the shapes: C channels of a stage, h×w its size, N = h·w, d the head's channels, f
 * the factor between picture and latent.
 *
 * <p>A forward computes in the type of its input: convolutions cast their weights to it, which
 * costs nothing where the types are equal; the statistics of norms and the whole of attention are
 * in float32. So training in bf16 is: float32 weights, bf16 input. Attention has one form, the
 * linear one; diffusers takes a quadratic one where N is at most d, which sums the same products in
 * another order.
 *
 * <p>The model owns its native memory until {@link #close}, which may be called twice; everything
 * else throws {@link IllegalStateException} after it. One forward at a time.
 */
public final class DcAe implements Network, AutoCloseable {
  private static final double NORM_EPS = 1e-5;
  private static final double ATTENTION_EPS = 1e-15;

  /**
   * Where a module stands and how its tensors are made.
   *
   * @param key its name in checkpoints
   * @param run what all modules of a model share
   */
  private record Place(String key, TensorOptions options, Run run) {
    Place at(String child) {
      return new Place(key + "." + child, options, run);
    }
  }

  /** How forwards are run. */
  private static final class Run {
    private boolean channelsLast;
    private BiConsumer<String, Tensor> observer;
  }

  // ---------------------------------------------------------------- What blocks are built of

  /** A handle of our own: the one that registering gives breaks when the next is registered. */
  private static Tensor parameter(Module module, Place place, String name, long... dims) {
    Tensor values = torch.zeros(dims, place.options);
    module.register_parameter(name, values, true);
    return values;
  }

  /** A module of one input and one output of its own, which frees whatever else it made. */
  abstract static class Step extends Module {
    private final Place place;

    Step(Place place) {
      this.place = place;
    }

    final Tensor parameter(String name, long... dims) {
      return DcAe.parameter(this, place, name, dims);
    }

    /** In the layout that this model's convolutions are fastest in. */
    final Tensor laidOut(Tensor x) {
      return place.run.channelsLast ? x.contiguous(MemoryFormat.ChannelsLast) : x;
    }

    /** The output as a tensor that owns itself: what an in-place call returns does not. */
    abstract Tensor compute(Tensor x);

    final Tensor forward(Tensor x) {
      PointerScope outer = PointerScope.getInnerScope();
      try (PointerScope scope = new PointerScope()) {
        Tensor y = compute(x);
        if (place.run.observer != null) {
          place.run.observer.accept(place.key, y);
        }
        outer.attach(y);
        return y;
      }
    }
  }

  /** Steps one after another, each input freed as soon as its output is there. */
  private static Tensor chain(List<? extends Step> steps, Tensor x) {
    Tensor at = x;
    for (Step step : steps) {
      Tensor next = step.forward(at);
      if (at != x) {
        at.close();
      }
      at = next;
    }
    return at;
  }

  /** A convolution, zero-padded so that stride 1 keeps the size. */
  static final class Conv extends Step {
    private final Tensor weight; // [out, in/groups, kernel, kernel]
    private final TensorOptional bias; // [out]
    private final long[] stride;
    private final long[] padding;
    private final long groups;

    Conv(Place place, long in, long out, long kernel, long stride, long groups, boolean bias) {
      super(place);
      weight = parameter("weight", out, in / groups, kernel, kernel);
      this.bias = bias ? new TensorOptional(parameter("bias", out)) : new TensorOptional();
      this.stride = new long[] {stride, stride};
      padding = new long[] {kernel / 2, kernel / 2};
      this.groups = groups;
    }

    /** Three by three, with bias. */
    Conv(Place place, long in, long out) {
      this(place, in, out, 3, 1, 1, true);
    }

    @Override
    Tensor compute(Tensor x) {
      ScalarType type = x.scalar_type();
      TensorOptional b = bias.has_value() ? new TensorOptional(bias.get().to(type)) : bias;
      return torch.conv2d(x, weight.to(type), b, stride, padding, new long[] {1, 1}, groups);
    }
  }

  /** What a pixel's channels are multiplied with: a Linear without bias. */
  static final class Linear extends Module {
    private final Tensor weight; // [out, in]

    Linear(Place place, long in, long out) {
      weight = parameter(this, place, "weight", out, in);
    }

    static Tensor forward(Tensor x, Tensor weight) {
      return torch.conv2d(x, weight.to(x.scalar_type()).unsqueeze(2).unsqueeze(3));
    }
  }

  /**
   * y_c = x_c / √(mean over channels of x² + ε) · weight_c + bias_c at each pixel. Without autograd
   * it uses its input's memory.
   */
  static final class RmsNorm extends Step {
    private final long channels;
    private final Tensor weight; // [C]
    private final Tensor bias; // [C]

    RmsNorm(Place place, long channels) {
      super(place);
      this.channels = channels;
      weight = parameter("weight", channels);
      bias = parameter("bias", channels);
    }

    @Override
    Tensor compute(Tensor x) {
      ScalarType type = x.scalar_type();
      Tensor norm =
          torch.linalg_vector_norm(
              x,
              new Scalar(2),
              new long[] {1},
              /* keepdim= */ true,
              new ScalarTypeOptional(ScalarType.Float)); // [batch, 1, h, w]
      Tensor scale =
          norm.square().mul(new Scalar(1.0 / channels)).add(new Scalar(NORM_EPS)).rsqrt();
      Tensor y = x; // [batch, C, h, w]
      if (GradMode.is_enabled()) {
        y = x.mul(scale).to(type);
      } else {
        x.mul_(scale);
      }
      return torch.addcmul(perChannel(bias, type), y, perChannel(weight, type));
    }
  }

  /** Batch normalisation by the statistics of the checkpoint, in training too. */
  static final class BatchNorm extends Step {
    private final Tensor weight; // [C]
    private final Tensor bias; // [C]
    private final Tensor runningMean; // [C]
    private final Tensor runningVar; // [C]

    BatchNorm(Place place, long channels) {
      super(place);
      weight = parameter("weight", channels);
      bias = parameter("bias", channels);
      Device device = place.options.device();
      runningMean = torch.zeros(channels).to(device, ScalarType.Float);
      runningVar = torch.ones(channels).to(device, ScalarType.Float);
      register_buffer("running_mean", runningMean);
      register_buffer("running_var", runningVar);
      register_buffer("num_batches_tracked", torch.zeros().to(device, ScalarType.Long));
    }

    @Override
    Tensor compute(Tensor x) {
      ScalarType type = x.scalar_type();
      Tensor scale = runningVar.add(new Scalar(NORM_EPS)).rsqrt().mul(weight); // [C]
      Tensor shift = bias.sub(runningMean.mul(scale)); // [C]
      return torch.addcmul(perChannel(shift, type), x, perChannel(scale, type));
    }
  }

  private static Tensor perChannel(Tensor values, ScalarType type) {
    return values.to(type).unsqueeze(1).unsqueeze(2); // [C, 1, 1]
  }

  private static Step norm(Place place, Norm norm, long channels) {
    return norm == Norm.RMS_NORM ? new RmsNorm(place, channels) : new BatchNorm(place, channels);
  }

  /** An activation; without autograd in the memory of {@code x}, which nothing else may use. */
  private static Tensor activate(Tensor x, Activation act) {
    if (GradMode.is_enabled()) {
      return act == Activation.SILU ? torch.silu(x) : torch.relu(x);
    }
    if (act == Activation.SILU) {
      torch.silu_(x);
    } else {
      torch.relu_(x);
    }
    return x;
  }

  // ---------------------------------------------------------------- Blocks

  /** Convolution, activation, convolution and norm, with a residual. */
  static final class ResBlock extends Step {
    private final Activation act;
    private final Conv conv1;
    private final Conv conv2;
    private final Step norm;

    ResBlock(Place place, Stage stage) {
      super(place);
      long c = stage.channels();
      act = stage.act();
      conv1 = register_module("conv1", new Conv(place.at("conv1"), c, c));
      conv2 = register_module("conv2", new Conv(place.at("conv2"), c, c, 3, 1, 1, false));
      norm = register_module("norm", norm(place.at("norm"), stage.norm(), c));
    }

    @Override
    Tensor compute(Tensor x) {
      Tensor h = activate(conv1.forward(x), act); // [batch, C, h, w]
      Tensor y = conv2.forward(h); // [batch, C, h, w]
      h.close();
      Tensor z = norm.forward(y); // [batch, C, h, w]
      y.close();
      z.add_(x);
      return z;
    }
  }

  /** An extra branch of the attention: queries, keys and values that saw their neighbours. */
  static final class Multiscale extends Module {
    private final Conv projIn;
    private final Conv projOut;

    Multiscale(Place place, long width, long kernel, long headDim) {
      projIn =
          register_module(
              "proj_in", new Conv(place.at("proj_in"), width, width, kernel, 1, width, false));
      projOut =
          register_module(
              "proj_out",
              new Conv(place.at("proj_out"), width, width, 1, 1, width / headDim, false));
    }

    Tensor forward(Tensor qkv) {
      return projOut.forward(projIn.forward(qkv)); // [batch, 3·C, h, w]
    }
  }

  /**
   * Multi-scale linear attention with ReLU as the kernel, and a residual. Of each source of 3·C
   * channels (the projection, then each branch) a head takes the next run of 3·d: d of queries, d
   * of keys, d of values. As the projection stacks all of to_q, to_k, to_v, those names do not say
   * which of the three a head makes of their rows.
   */
  static final class Attention extends Step {
    private final long headDim;
    private final Linear toQ;
    private final Linear toK;
    private final Linear toV;
    private final List<Multiscale> scales = new ArrayList<>();
    private final Linear toOut;
    private final RmsNorm normOut;

    Attention(Place place, Stage stage, long headDim) {
      super(place);
      this.headDim = headDim;
      long c = stage.channels();
      toQ = register_module("to_q", new Linear(place, c, c));
      toK = register_module("to_k", new Linear(place, c, c));
      toV = register_module("to_v", new Linear(place, c, c));
      Module list = register_module("to_qkv_multiscale", new Module("to_qkv_multiscale"));
      for (int kernel : stage.multiscales()) {
        String name = String.valueOf(scales.size());
        Place at = place.at("to_qkv_multiscale").at(name);
        scales.add(list.register_module(name, new Multiscale(at, 3 * c, kernel, headDim)));
      }
      toOut = register_module("to_out", new Linear(place, c * (1 + scales.size()), c));
      normOut = register_module("norm_out", new RmsNorm(place.at("norm_out"), c));
    }

    @Override
    Tensor compute(Tensor x) {
      Tensor projection =
          torch.cat(new TensorVector(toQ.weight, toK.weight, toV.weight), 0); // [3·C, C]
      Tensor qkv = Linear.forward(x, projection); // [batch, 3·C, h, w]
      TensorVector heads = new TensorVector(attend(qkv));
      for (Multiscale scale : scales) {
        heads.push_back(attend(scale.forward(qkv)));
      }
      Tensor o = laidOut(torch.cat(heads, 1)); // [batch, (1+scales)·C, h, w]
      Tensor y = normOut.forward(Linear.forward(o, toOut.weight)); // [batch, C, h, w]
      y.add_(x);
      return y;
    }

    /** For every head and pixel n: Σ_m v_m (k_m·q_n) / (Σ_m k_m·q_n + ε), in float32. */
    private Tensor attend(Tensor source) {
      Tensor[] qkv =
          source // [batch, 3·C, h, w]
              .flatten(2, 3)
              .unflatten(1, -1, 3, headDim) // [batch, heads, 3, d, N]
              .to(ScalarType.Float)
              .unbind(2)
              .get();
      Tensor q = torch.relu(qkv[0]); // [batch, heads, d, N]
      Tensor k = torch.relu(qkv[1]); // [batch, heads, d, N]
      Tensor vk = torch.matmul(qkv[2], k.transpose(2, 3)); // [batch, heads, d, d]
      Tensor sum = k.sum(new long[] {3}, true, new ScalarTypeOptional()); // [batch, heads, d, 1]
      Tensor weights = torch.matmul(sum.transpose(2, 3), q); // [batch, heads, 1, N]
      Tensor o = torch.matmul(vk, q).div(weights.add(new Scalar(ATTENTION_EPS)));
      return o // [batch, heads, d, N]
          .to(source.scalar_type())
          .flatten(1, 2)
          .unflatten(2, source.size(2), source.size(3)); // [batch, C, h, w]
    }
  }

  /** A pointwise, a depthwise and a pointwise convolution, gated in between, with a residual. */
  static final class GluMbConv extends Step {
    private final Conv inverted;
    private final Conv depth;
    private final Conv point;
    private final RmsNorm norm;

    GluMbConv(Place place, long c) {
      super(place);
      long h = 8 * c; // twice the hidden width of 4·C: one half is the gate of the other
      inverted =
          register_module(
              "conv_inverted", new Conv(place.at("conv_inverted"), c, h, 1, 1, 1, true));
      depth = register_module("conv_depth", new Conv(place.at("conv_depth"), h, h, 3, 1, h, true));
      point =
          register_module("conv_point", new Conv(place.at("conv_point"), h / 2, c, 1, 1, 1, false));
      norm = register_module("norm", new RmsNorm(place.at("norm"), c));
    }

    @Override
    Tensor compute(Tensor x) {
      Tensor u = activate(inverted.forward(x), Activation.SILU); // [batch, 8·C, h, w]
      Tensor wide = depth.forward(u); // [batch, 8·C, h, w]
      u.close();
      Tensor[] halves = wide.chunk(2, 1).get(); // 2 × [batch, 4·C, h, w]
      Tensor t = halves[0].mul(torch.silu(halves[1])); // [batch, 4·C, h, w]
      Tensor y = norm.forward(point.forward(t)); // [batch, C, h, w]
      y.add_(x);
      return y;
    }
  }

  /** Attention over the whole picture, then the gated convolution. */
  static final class EfficientViTBlock extends Step {
    private final Attention attn;
    private final GluMbConv convOut;

    EfficientViTBlock(Place place, Stage stage, long headDim) {
      super(place);
      attn = register_module("attn", new Attention(place.at("attn"), stage, headDim));
      convOut = register_module("conv_out", new GluMbConv(place.at("conv_out"), stage.channels()));
    }

    @Override
    Tensor compute(Tensor x) {
      return convOut.forward(attn.forward(x)); // [batch, C, h, w]
    }
  }

  private static Step block(Place place, Stage stage, long headDim) {
    return stage.block() == Block.RES_BLOCK
        ? new ResBlock(place, stage)
        : new EfficientViTBlock(place, stage, headDim);
  }

  // ---------------------------------------------------------------- Transitions

  /** Half the size: a convolution, and the means of neighbouring channels and pixels. */
  static final class Down extends Step {
    private final boolean unshuffle;
    private final boolean shortcut;
    private final Conv conv;

    Down(Place place, long in, long out, boolean unshuffle, boolean shortcut) {
      super(place);
      this.unshuffle = unshuffle;
      this.shortcut = shortcut;
      Place at = place.at("conv");
      conv =
          register_module(
              "conv", unshuffle ? new Conv(at, in, out / 4) : new Conv(at, in, out, 3, 2, 1, true));
    }

    @Override
    Tensor compute(Tensor x) {
      Tensor y = conv.forward(x);
      if (unshuffle) {
        y = laidOut(torch.pixel_unshuffle(y, 2));
      }
      if (shortcut) {
        addMeans(x, y);
      }
      return y; // [batch, out, h/2, w/2]
    }

    /**
     * Adds x, pixel-unshuffled, averaged over every 4·C/out channels, to y. The two transitions of
     * the published encoders are written without the shuffle, which changes no bit.
     */
    static void addMeans(Tensor x, Tensor y) {
      long group = 4 * x.size(1) / y.size(1);
      if (group == 4) {
        y.add_(torch.avg_pool2d(x, 2, 2));
      } else if (group == 2) { // output channel 2c+i: the mean of x[c]'s neighbours in row 2h+i
        Tensor rows = torch.avg_pool2d(x, 1, 2); // [batch, C, h, w/2]
        y.unflatten(1, -1, 2).add_(rows.unflatten(2, -1, 2).transpose(2, 3));
      } else {
        y.add_(torch.pixel_unshuffle(x, 2).unflatten(1, y.size(1), group).mean(2));
      }
    }
  }

  /** Twice the size: a convolution, and channels repeated over neighbouring channels and pixels. */
  static final class Up extends Step {
    private final boolean interpolate;
    private final boolean shortcut;
    private final Conv conv;

    Up(Place place, long in, long out, boolean interpolate, boolean shortcut) {
      super(place);
      this.interpolate = interpolate;
      this.shortcut = shortcut;
      conv = register_module("conv", new Conv(place.at("conv"), in, interpolate ? out : 4 * out));
    }

    @Override
    Tensor compute(Tensor x) {
      Tensor y;
      if (interpolate) {
        Tensor wide = torch.upsample_nearest2d(x, 2 * x.size(2), 2 * x.size(3));
        y = conv.forward(wide);
        wide.close();
      } else {
        y = laidOut(torch.pixel_shuffle(conv.forward(x), 2));
      }
      if (shortcut) {
        addRepeats(x, y);
      }
      return y; // [batch, out, 2·h, 2·w]
    }

    /**
     * Adds x, each channel 4·out/C times in a row, pixel-shuffled, to y. The two transitions of the
     * published decoders are written without the shuffle, which changes no bit.
     */
    static void addRepeats(Tensor x, Tensor y) {
      long repeats = 4 * y.size(1) / x.size(1);
      Tensor pixels = y.unflatten(3, -1, 2).unflatten(2, -1, 2); // [batch, out, h, 2, w, 2]
      if (repeats == 4) {
        pixels.add_(x.unsqueeze(3).unsqueeze(5));
      } else if (repeats == 2) { // output channel c: x[2c] in the upper row, x[2c+1] in the lower
        pixels.add_(x.unflatten(1, -1, 2).permute(0, 1, 3, 2, 4).unsqueeze(5));
      } else {
        Tensor repeated = x.repeat_interleave(repeats, new LongOptional(1), new LongOptional());
        y.add_(torch.pixel_shuffle(repeated, 2));
      }
    }
  }

  // ---------------------------------------------------------------- Encoder

  /** Picture to latent: stages from fine to coarse, each ended by a transition but the last. */
  static final class Encoder extends Step {
    private final List<Step> steps = new ArrayList<>();
    private final Conv convOut;
    private final boolean shortcut;
    private final long latentChannels;

    Encoder(Place place, DcAeConfig config) {
      super(place);
      List<Stage> stages = config.encoder();
      int first = config.firstEncoderStage();
      boolean unshuffle = config.pixelUnshuffle();
      long width = stages.get(first).channels();
      Place in = place.at("conv_in");
      steps.add(
          register_module(
              "conv_in",
              first == 0
                  ? new Conv(in, DcAeConfig.IN_CHANNELS, width)
                  : new Down(in, DcAeConfig.IN_CHANNELS, width, unshuffle, false)));
      Module list = register_module("down_blocks", new Module("down_blocks"));
      for (int i = first; i < stages.size(); i++) {
        Place at = place.at("down_blocks").at(String.valueOf(i));
        EncoderStage stage = new EncoderStage(at, config, i);
        steps.add(list.register_module(String.valueOf(i), stage));
      }
      latentChannels = config.latentChannels();
      convOut =
          register_module(
              "conv_out", new Conv(place.at("conv_out"), config.encoderWidth(), latentChannels));
      shortcut = config.encoderOutShortcut();
    }

    @Override
    Tensor compute(Tensor rgb) {
      Tensor h = chain(steps, rgb); // [batch, C, H/f, W/f]
      Tensor z = convOut.forward(h); // [batch, latentChannels, H/f, W/f]
      if (shortcut) {
        z.add_(h.unflatten(1, latentChannels, -1).mean(2));
      }
      return z;
    }
  }

  /** Blocks at one resolution, then the way to the next. */
  static final class EncoderStage extends Step {
    private final List<Step> steps = new ArrayList<>();

    EncoderStage(Place place, DcAeConfig config, int index) {
      super(place);
      Stage stage = config.encoder().get(index);
      for (int i = 0; i < stage.layers(); i++) {
        Place at = place.at(String.valueOf(i));
        Step block = block(at, stage, config.attentionHeadDim());
        steps.add(register_module(String.valueOf(i), block));
      }
      if (index + 1 < config.encoder().size()) {
        String name = String.valueOf(stage.layers());
        long out = config.encoder().get(index + 1).channels();
        Step down = new Down(place.at(name), stage.channels(), out, config.pixelUnshuffle(), true);
        steps.add(register_module(name, down));
      }
    }

    @Override
    Tensor compute(Tensor x) {
      return chain(steps, x);
    }
  }

  // ---------------------------------------------------------------- Decoder

  /** Latent to picture: stages from coarse to fine, though stored in the encoder's order. */
  static final class Decoder extends Step {
    private final Conv convIn;
    private final boolean shortcut;
    private final List<Step> steps = new ArrayList<>();
    private final RmsNorm normOut;
    private final Activation act;
    private final Step convOut;

    Decoder(Place place, DcAeConfig config) {
      super(place);
      List<Stage> stages = config.decoder();
      int first = config.firstDecoderStage();
      convIn =
          register_module(
              "conv_in",
              new Conv(place.at("conv_in"), config.latentChannels(), config.decoderWidth()));
      shortcut = config.decoderInShortcut();
      Module list = register_module("up_blocks", new Module("up_blocks"));
      for (int i = first; i < stages.size(); i++) {
        Place at = place.at("up_blocks").at(String.valueOf(i));
        DecoderStage stage = new DecoderStage(at, config, i);
        steps.add(0, list.register_module(String.valueOf(i), stage));
      }
      long width = stages.get(first).channels();
      normOut = register_module("norm_out", new RmsNorm(place.at("norm_out"), width));
      act = config.decoderConvAct();
      Place out = place.at("conv_out");
      convOut =
          register_module(
              "conv_out",
              first == 0
                  ? new Conv(out, width, DcAeConfig.IN_CHANNELS)
                  : new Up(out, width, DcAeConfig.IN_CHANNELS, config.interpolate(), false));
    }

    @Override
    Tensor compute(Tensor z) {
      Tensor h = convIn.forward(z); // [batch, C, H/f, W/f]
      if (shortcut) {
        Tensor channels = h.unflatten(1, z.size(1), -1); // [batch, latentChannels, -1, H/f, W/f]
        channels.add_(z.unsqueeze(2));
      }
      Tensor x = chain(steps, h); // [batch, C, H, W], or half that size without a first stage
      h.close();
      Tensor y = normOut.forward(x);
      x.close();
      return convOut.forward(activate(y, act)); // [batch, 3, H, W]
    }
  }

  /** The way from the stage below, then blocks at one resolution. */
  static final class DecoderStage extends Step {
    private final List<Step> steps = new ArrayList<>();

    DecoderStage(Place place, DcAeConfig config, int index) {
      super(place);
      Stage stage = config.decoder().get(index);
      if (index + 1 < config.decoder().size()) {
        long in = config.decoder().get(index + 1).channels();
        Step up = new Up(place.at("0"), in, stage.channels(), config.interpolate(), true);
        steps.add(register_module("0", up));
      }
      for (int i = 0; i < stage.layers(); i++) {
        String name = String.valueOf(steps.size());
        Step block = block(place.at(name), stage, config.attentionHeadDim());
        steps.add(register_module(name, block));
      }
    }

    @Override
    Tensor compute(Tensor x) {
      return chain(steps, x);
    }
  }

  // ---------------------------------------------------------------- The whole model

  private final DcAeConfig config;
  private final Precision precision;
  private final Device device;
  private final PointerScope owned;
  private final Run run = new Run();
  private final Encoder encoder;
  private final Decoder decoder;
  private final Map<String, Tensor> parameters;
  private final Map<String, Tensor> state;
  private boolean closed;

  /** A model of float32 weights, all zero: fill them from {@link DcAeInitializer} or a file. */
  public DcAe(DcAeConfig config, Device device) {
    this(config, device, Precision.F32);
  }

  /**
   * A model of weights that are all zero.
   *
   * @param precision the type that weights are held in; training wants {@link Precision#F32}
   */
  public DcAe(DcAeConfig config, Device device, Precision precision) {
    this.config = config;
    this.precision = precision;
    try (PointerScope scope = new PointerScope()) {
      this.device = new Device(device);
      run.channelsLast =
          device.is_cuda(); // what cuDNN is fastest with, in half precision above all
      TensorOptions options =
          new TensorOptions(precision.scalarType()).device(new DeviceOptional(this.device));
      Module root = new Module("DcAe");
      Place encoderPlace = new Place("encoder", options, run);
      encoder = root.register_module("encoder", new Encoder(encoderPlace, config));
      Place decoderPlace = new Place("decoder", options, run);
      decoder = root.register_module("decoder", new Decoder(decoderPlace, config));
      state = checked(root);
      Map<String, Tensor> trained = new LinkedHashMap<>(state);
      trained.keySet().removeIf(DcAeTensors::isStatistic);
      parameters = Collections.unmodifiableMap(trained);
      owned = scope.extend();
    }
  }

  /**
   * Opens a checkpoint.
   *
   * @param precision the type that weights are held in
   * @return the model, which the caller closes
   * @throws IllegalArgumentException naming every tensor that does not fit the config
   * @throws IOException if the file is malformed or cannot be read
   */
  public static DcAe open(DcAeFolder folder, Device device, Precision precision)
      throws IOException {
    try (TensorSource source = folder.openWeights()) {
      DcAe model = new DcAe(folder.config(), device, precision);
      try {
        model.load(source);
        return model;
      } catch (IOException | RuntimeException e) {
        model.close();
        throw e;
      }
    }
  }

  /** Every tensor by its key, in the order of {@link DcAeTensors}. */
  private Map<String, Tensor> checked(Module root) {
    Map<String, TensorSpec> specs = DcAeTensors.of(config);
    List<TensorSpec> trained = new ArrayList<>(specs.values());
    trained.removeIf(spec -> DcAeTensors.isStatistic(spec.name()));
    List<TensorSpec> statistics = new ArrayList<>(specs.values());
    statistics.removeAll(trained);
    Map<String, Tensor> found = new LinkedHashMap<>();
    specs.keySet().forEach(name -> found.put(name, null)); // for the order
    check(trained, root.named_parameters(), "parameter", found);
    check(statistics, root.named_buffers(), "buffer", found);
    return Collections.unmodifiableMap(found);
  }

  private static void check(
      List<TensorSpec> specs, StringTensorDict named, String what, Map<String, Tensor> found) {
    for (int i = 0; i < specs.size() && i < named.size(); i++) {
      TensorSpec spec = specs.get(i);
      Tensor tensor = named.get(i).value();
      String name = named.get(i).key().getString();
      if (!name.equals(spec.name()) || !Weights.shape(tensor).equals(spec.shape())) {
        throw new IllegalStateException(
            String.format(
                "DcAe: expected %s %s %s, found %s %s",
                what, spec.name(), spec.shape(), name, Weights.shape(tensor)));
      }
      found.put(name, tensor);
    }
    if (named.size() != specs.size()) {
      throw new IllegalStateException(
          String.format("DcAe: expected %d %ss, found %d", specs.size(), what, named.size()));
    }
  }

  /**
   * Fills every tensor.
   *
   * @param source a checkpoint of this config; not closed
   * @throws IllegalArgumentException naming every tensor that does not fit
   */
  public void load(TensorSource source) throws IOException {
    requireOpen();
    DcAeTensors.require(config, source.specs(), source.where());
    for (Map.Entry<String, Tensor> entry : state.entrySet()) {
      Weights.copy(source.tensor(entry.getKey()), entry.getValue());
    }
  }

  @Override
  public void restore(TensorSource source) throws IOException {
    load(source);
  }

  /**
   * Encodes pictures. The result belongs to the open {@code PointerScope}.
   *
   * @param rgb [batch, 3, H, W] in [-1, 1], on the model's device; float32, bfloat16 or float16,
   *     which is the type of the computation and of the result
   * @return [batch, latentChannels, H/f, W/f], not scaled
   * @throws IllegalArgumentException if the sides are no multiples of the factor, or the shape or
   *     type is another
   * @throws IllegalStateException after {@link #close}
   */
  public Tensor encode(Tensor rgb) {
    requireOpen();
    int f = config.factor();
    boolean fits = isBatch(rgb, DcAeConfig.IN_CHANNELS);
    if (!fits || rgb.size(2) % f != 0 || rgb.size(3) % f != 0) {
      throw new IllegalArgumentException(
          String.format(
              "pictures to encode: expected [batch, 3, height, width] of sides that are multiples of"
                  + " %d, %d or more; found %s",
              f, f, Weights.shape(rgb)));
    }
    Precision.of(rgb.scalar_type());
    return run(encoder, rgb);
  }

  /**
   * Decodes latents. The result belongs to the open {@code PointerScope}.
   *
   * @param latent [batch, latentChannels, h, w], not scaled, on the model's device; float32 or
   *     bfloat16, or float16 if the model was opened in it
   * @return [batch, 3, h·f, w·f], about [-1, 1], not clamped
   * @throws IllegalArgumentException if the shape or type is another
   * @throws IllegalStateException after {@link #close}
   */
  public Tensor decode(Tensor latent) {
    requireOpen();
    if (!isBatch(latent, config.latentChannels())) {
      throw new IllegalArgumentException(
          String.format(
              "latents to decode: expected [batch, %d, height, width] of sides of 1 or more, found %s",
              config.latentChannels(), Weights.shape(latent)));
    }
    if (Precision.of(latent.scalar_type()) == Precision.F16 && precision != Precision.F16) {
      throw new IllegalArgumentException(
          "latents to decode: expected float32 or bfloat16, found float16: "
              + Precision.F16_REASON
              + "; open the autoencoder in f16 to have it nevertheless");
    }
    return run(decoder, latent);
  }

  private static boolean isBatch(Tensor x, int channels) {
    return x.dim() == 4 && x.size(1) == channels && x.numel() > 0;
  }

  private Tensor run(Step network, Tensor x) {
    PointerScope outer = PointerScope.getInnerScope();
    try (PointerScope scope = new PointerScope()) {
      return Scopes.keep(network.forward(network.laidOut(x)).contiguous(), outer);
    }
  }

  /**
   * Has every module's name and output shown in the forwards to come, for parity checks and to find
   * where values overflow. What is shown lives for the call alone.
   *
   * @param observer what it is shown to, or null for none
   */
  public void observe(BiConsumer<String, Tensor> observer) {
    run.observer = observer;
  }

  /** Whether activations lie channels last in memory; the numbers are the same up to rounding. */
  void setChannelsLast(boolean channelsLast) {
    run.channelsLast = channelsLast;
  }

  @Override
  public Map<String, Tensor> parameters() {
    return parameters;
  }

  /** Parameters and running statistics by checkpoint key: all that a checkpoint holds. */
  public Map<String, Tensor> state() {
    return state;
  }

  /** The shape of the network. */
  public DcAeConfig config() {
    return config;
  }

  /** The type that the weights are held in. */
  public Precision precision() {
    return precision;
  }

  /** Where the weights lie. */
  public Device device() {
    return device;
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("DcAe is closed");
    }
  }

  /** Frees the weights. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      owned.close();
    }
  }
}
