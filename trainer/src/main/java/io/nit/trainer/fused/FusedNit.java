package io.nit.trainer.fused;

import io.nit.core.config.NitConfig;
import io.nit.trainer.dist.GradientReady;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.model.GpuMemory;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.Scopes;
import io.nit.trainer.optim.FlatParameters;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.AutoGradMode;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Loss and gradients of a {@link NitModel} with the backward written out. The model keeps its fp32
 * weights, which lie in {@link FlatParameters}, and goes on working as it is; here they are used in
 * the compute type T, bfloat16 or float32.
 *
 * <p>Of every block the forward keeps the residual before it and in its middle, q, k and v before
 * norm and rotation, q and k after them, attention's result, both branches' results and the MLP's
 * pre-activation: 14 times [tokens, hidden]. Norms and GELU are computed once more in the backward,
 * in the pass that needs them anyhow; the rotation would be a pass of its own. With checkpointing
 * only the residual before it is kept, and the backward begins a block with its forward.
 *
 * <p>Legend: N tokens, B images, D hidden, W the MLP's width, r a modulation's rank.
 *
 * <p>Owns its activations and the weights' copy until {@link #close}, which may be called twice.
 * One step at a time.
 */
public final class FusedNit implements AutoCloseable {
  private static final int LARGEST_HIDDEN = 2048;
  private static final int TOKEN_STEP = 256; // rows by which the activations grow
  private static final int IMAGE_STEP = 128;

  /**
   * Why {@link CudaOps} cannot take a config; empty if it can.
   *
   * @return a line that names the field
   */
  public static Optional<String> refusal(NitConfig config) {
    if (config.hiddenSize() % 8 != 0 || config.hiddenSize() > LARGEST_HIDDEN) {
      return refused(
          "hidden_size", "a multiple of 8, at most " + LARGEST_HIDDEN, config.hiddenSize());
    }
    if (config.headDim() != 64 && config.headDim() != 72) {
      return refused("head_dim (hidden_size / num_heads)", "64 or 72", config.headDim());
    }
    if (config.mlpHidden() % 8 != 0) {
      return refused("mlp_ratio", "an MLP of a multiple of 8", config.mlpHidden());
    }
    if (config.tokenSize() % 8 != 0) {
      return refused("in_channels x patch_size^2", "a multiple of 8", config.tokenSize());
    }
    if (config.adaLnLoraDim() % 8 != 0) {
      return refused("adaln_lora_dim", "a multiple of 8", config.adaLnLoraDim());
    }
    return Optional.empty();
  }

  private static Optional<String> refused(String field, String expected, int found) {
    return Optional.of(field + ": expected " + expected + ", found " + found);
  }

  /** A Linear: its weights in T, and their gradients. */
  private record Linear(Tensor weight, Tensor bias, Tensor dWeight, Tensor dBias) {}

  /** A block's parameters and where they begin in the flat tensor. */
  private record Block(
      long from,
      long fromAttention,
      long fromMlp,
      List<Linear> modulation,
      Linear qkv,
      Optional<QkNorm> norm,
      Optional<QkNorm> dNorm,
      Linear proj,
      Linear fc1,
      Linear fc2) {}

  /** What a block's forward leaves for its backward. */
  private static final class Saved {
    Tensor x; // [N, D]
    Tensor middle; // [N, D]
    Tensor qkv; // [N, 3D]
    Tensor rotated; // q and k, [N, 2, H, d]
    Attended attended; // [N, H, d]
    Tensor attention; // [N, D], attention's branch
    Tensor hidden; // [N, W], before GELU
    Tensor mlp; // [N, D], the MLP's branch
    private PointerScope kept;

    /** Takes the tensors out of the scope that they were made in. */
    void keepBeyond(PointerScope scope) {
      kept = scope.extend();
    }

    /** Lets go of the tensors. */
    void release() {
      if (kept != null) {
        kept.close();
      }
    }
  }

  /** A block's six modulations or the last norm's two, [B, parts·D], and what they came from. */
  private record Modulation(List<Tensor> inputs, Tensor values, long hidden) {
    Tensor part(int index) {
      return values.narrow(1, index * hidden, hidden); // [B, D]
    }
  }

  /**
   * A pack's losses, float32 scalars on the device, times its share.
   *
   * @param total what is minimised
   * @param flow velocity error with the directional term
   * @param projection REPA term before its weight, if there is one
   */
  public record Losses(Tensor total, Tensor flow, Optional<Tensor> projection) {}

  private final NitConfig config;
  private final Device device;
  private final FusedOps ops;
  private final ScalarType type;
  private final boolean checkpointing;
  private final FlatParameters flat;
  private final Map<String, Long> starts; // in the flat tensor
  private final Optional<Tensor> copy; // weights in T, if T is not float32
  private final Buffers tokens;
  private final Buffers images;
  private final Map<String, Tensor> weights; // float32
  private final Map<String, Tensor> rounded; // T
  private final Map<String, Tensor> gradients; // float32
  private final Tensor frequencies;
  private final List<Block> blocks = new ArrayList<>();
  private final Linear embedder;
  private final List<Linear> finalModulation;
  private final Linear finalLinear;
  private final List<Linear> projector = new ArrayList<>();
  private final long finalFrom;
  private final PointerScope owned;
  private boolean closed;

  /**
   * A step's forward and backward over a model's weights as they are.
   *
   * @param model whose parameters lie in {@code flat}; both must outlive this
   * @param ops the pieces; stays the caller's
   * @param type T: bfloat16 or, with {@link ReferenceOps}, float32
   * @param checkpointing whether to keep only a block's input, and compute the block again
   */
  public FusedNit(
      NitModel model, FlatParameters flat, FusedOps ops, ScalarType type, boolean checkpointing) {
    this.config = model.config();
    this.ops = ops;
    this.type = type;
    this.checkpointing = checkpointing;
    this.flat = flat;
    try (PointerScope scope = new PointerScope()) {
      device = new Device(model.device());
      tokens = new Buffers(device, TOKEN_STEP);
      images = new Buffers(device, IMAGE_STEP);
      Tensor values = flat.values().detach();
      copy = type == ScalarType.Float ? Optional.empty() : Optional.of(values.to(type));
      weights = flat.views(values);
      rounded = flat.views(copy.orElse(values));
      gradients = flat.views(flat.gradients());
      starts = flat.starts();
      float[] angles = NitModel.timeFrequencies();
      frequencies = Tensor.create(angles, 1, angles.length).to(device, ScalarType.Float);
      embedder = flattened(linear("x_embedder.proj"));
      for (int i = 0; i < config.depth(); i++) {
        blocks.add(block("blocks." + i + "."));
      }
      finalModulation = List.of(linear("final_layer.adaLN_modulation.1"));
      finalLinear = linear("final_layer.linear");
      finalFrom = starts.get("final_layer.adaLN_modulation.1.weight");
      if (model.hasProjector()) {
        for (int i = 0; i < 3; i++) {
          projector.add(linear("projector." + 2 * i));
        }
      }
      owned = scope.extend();
    }
  }

  private Linear linear(String name) {
    return new Linear(
        rounded.get(name + ".weight"),
        rounded.get(name + ".bias"),
        gradients.get(name + ".weight"),
        gradients.get(name + ".bias"));
  }

  /** The convolution [D, C, p, p] as a Linear over a token's values. */
  private static Linear flattened(Linear linear) {
    return new Linear(
        linear.weight.flatten(1, -1), linear.bias, linear.dWeight.flatten(1, -1), linear.dBias);
  }

  private Block block(String name) {
    List<Linear> modulation = new ArrayList<>();
    modulation.add(linear(name + "adaLN_modulation.1"));
    if (config.useAdaLnLora()) {
      modulation.add(linear(name + "adaLN_modulation.2"));
    }
    boolean normed = config.qkNorm();
    return new Block(
        starts.get(name + "adaLN_modulation.1.weight"),
        starts.get(name + "attn.qkv.weight"),
        starts.get(name + "mlp.fc1.weight"),
        modulation,
        linear(name + "attn.qkv"),
        normed ? Optional.of(norm(rounded, name)) : Optional.empty(),
        normed ? Optional.of(norm(gradients, name)) : Optional.empty(),
        linear(name + "attn.proj"),
        linear(name + "mlp.fc1"),
        linear(name + "mlp.fc2"));
  }

  private static QkNorm norm(Map<String, Tensor> tensors, String name) {
    return new QkNorm(
        tensors.get(name + "attn.q_norm.weight"),
        tensors.get(name + "attn.q_norm.bias"),
        tensors.get(name + "attn.k_norm.weight"),
        tensors.get(name + "attn.k_norm.bias"));
  }

  /** The weights in T, [elements], which an update must keep in step; empty if T is float32. */
  public Optional<Tensor> copy() {
    return copy;
  }

  /** Takes over weights that were changed by others than an update. */
  public void refresh() {
    try (NoGradGuard guard = new NoGradGuard()) {
      copy.ifPresent(c -> c.copy_(flat.values()));
    }
  }

  private Tensor rows(String name, long rows, long width) {
    return tokens.rows(name, rows, width, type);
  }

  // ---------------------------------------------------------------- A pack

  /**
   * Adds a pack's share of the step's gradient.
   *
   * @param loss the loss' terms
   * @param batch the pack's data and draws, float32 on the model's device
   * @param share the pack's tokens over the step's
   * @param first whether it is the step's first pack, whose gradients replace the last step's
   * @param listener told which gradients are final; give {@link GradientReady#NOBODY} for all packs
   *     of a step but its last
   * @return losses of this pack; belong to the open {@code PointerScope}
   * @throws IllegalStateException after {@link #close}
   */
  public Losses backward(
      FlowMatchingLoss loss,
      FlowMatchingLoss.Batch batch,
      FusedPack pack,
      double share,
      boolean first,
      GradientReady listener) {
    if (closed) {
      throw new IllegalStateException("FusedNit is closed");
    }
    if (tokens.reserve(pack.tokens()) && device.is_cuda()) {
      GpuMemory.releaseUnused(); // nothing that is made from here on fits into the old buffers
    }
    images.reserve(pack.images());
    try (NoGradGuard guard = new NoGradGuard()) {
      return new Step(loss, batch, pack, share, first, listener).run();
    }
  }

  /** One pack on its way through the model and back. */
  private final class Step {
    private final FlowMatchingLoss loss;
    private final FlowMatchingLoss.Batch batch;
    private final FusedPack pack;
    private final double share;
    private final boolean accumulate;
    private final GradientReady listener;
    private final long n;
    private final long d = config.hiddenSize();
    private final Saved[] saved = new Saved[config.depth()];
    private final Modulation[] modulations = new Modulation[config.depth()];
    private Modulation finalModulations;
    private Tensor lastResidual; // after the last block, [N, D] T
    private Tensor dProjected; // towards the REPA head's input, [N, D] T
    private Tensor condition; // c, [B, D] float32
    private Tensor dActive; // towards SiLU(c), [B, D] float32

    Step(
        FlowMatchingLoss loss,
        FlowMatchingLoss.Batch batch,
        FusedPack pack,
        double share,
        boolean first,
        GradientReady listener) {
      this.loss = loss;
      this.batch = batch;
      this.pack = pack;
      this.share = share;
      this.accumulate = !first;
      this.listener = listener;
      n = pack.tokens();
    }

    Losses run() {
      PointerScope outer = PointerScope.getInnerScope();
      try (PointerScope scope = new PointerScope()) {
        Tensor angles = batch.t().unsqueeze(1).mul(frequencies); // [B, 128]
        Tensor waves = torch.cat(new TensorVector(angles.cos(), angles.sin()), 1); // [B, 256]
        Tensor before = embed("t_embedder.mlp.0", waves); // [B, D]
        Tensor between = torch.silu(before);
        Tensor labels = weights.get("y_embedder.embedding_table.weight");
        condition =
            embed("t_embedder.mlp.2", between).add_(labels.index_select(0, batch.labels())); // c
        Tensor active = torch.silu(condition).to(type); // [B, D]
        dActive = torch.zeros_like(condition);

        Tensor t = batch.t().index_select(0, pack.imageIndex()).view(-1, 1, 1, 1);
        Tensor noised = // (1-t)·x₀ + t·ε, [N, C, p, p]
            batch.latents().mul(t.neg().add_(new Scalar(1f))).add_(batch.noise().mul(t));
        Tensor x = noised.flatten(1, -1).to(type); // [N, C·p·p]
        Tensor target = batch.noise().sub(batch.latents());

        Optional<Tensor> projection = forward(x, active);
        Tensor v = rows("velocity", n, config.tokenSize());
        ops.linear(rows("normed", n, d), finalLinear.weight, finalLinear.bias, v);
        Tensor flow;
        Tensor dv;
        try (AutoGradMode on = new AutoGradMode(true)) {
          Tensor leaf = v.to(ScalarType.Float).view_as(target).detach().clone();
          leaf.set_requires_grad(true);
          flow = loss.flow(leaf, target);
          flow.mul(new Scalar(share)).backward();
          dv = leaf.grad().flatten(1, -1).to(type).contiguous(); // [N, C·p·p]
          flow = flow.detach();
        }
        Tensor total =
            projection.isPresent()
                ? flow.add(projection.get().mul(new Scalar(loss.projCoeff())))
                : flow;
        Losses losses =
            new Losses(
                scaled(total, outer), scaled(flow, outer), projection.map(p -> scaled(p, outer)));

        Tensor dx = rows("dx", n, d);
        backwardFinal(dv, dx);
        for (int i = config.depth() - 1; i >= 0; i--) {
          try (PointerScope each = new PointerScope()) {
            backwardBlock(i, dx);
          }
        }
        ops.weightGradient(dx, x, embedder.dWeight, accumulate);
        ops.biasGradient(dx, embedder.dBias, accumulate);
        backwardEmbedders(waves, before, between);
        listener.ready(0, blocks.get(0).from);
        return losses;
      }
    }

    private Tensor scaled(Tensor loss, PointerScope outer) {
      return Scopes.keep(loss.mul(new Scalar(share)), outer);
    }

    // -------------------------------------------------------------- Embedders, in float32

    private Tensor embed(String name, Tensor x) {
      return torch.addmm(
          weights.get(name + ".bias"), x, weights.get(name + ".weight").t()); // [B, D]
    }

    private void backwardEmbedders(Tensor waves, Tensor before, Tensor between) {
      Tensor dc = torch.silu_backward(dActive, condition); // [B, D]
      Tensor table = gradients.get("y_embedder.embedding_table.weight");
      put(table, torch.embedding_dense_backward(dc, batch.labels(), table.size(0), -1, false));
      Tensor dBetween = backwardEmbed("t_embedder.mlp.2", dc, between);
      Tensor dBefore = torch.silu_backward(dBetween, before);
      backwardEmbed("t_embedder.mlp.0", dBefore, waves);
    }

    private Tensor backwardEmbed(String name, Tensor dOut, Tensor x) {
      put(gradients.get(name + ".weight"), dOut.t().mm(x));
      put(gradients.get(name + ".bias"), dOut.sum(0));
      return dOut.mm(weights.get(name + ".weight"));
    }

    private void put(Tensor gradient, Tensor value) {
      if (accumulate) {
        gradient.add_(value);
      } else {
        gradient.copy_(value);
      }
    }

    // -------------------------------------------------------------- Modulations, per image

    private Modulation modulation(String name, List<Linear> linears, Tensor active) {
      List<Tensor> inputs = new ArrayList<>();
      Tensor m = active;
      for (int i = 0; i < linears.size(); i++) {
        Linear linear = linears.get(i);
        inputs.add(m);
        Tensor out =
            images.rows(name + "." + i, pack.images(), linear.weight.size(0), type); // [B, ...]
        ops.linear(m, linear.weight, linear.bias, out);
        m = out;
      }
      return new Modulation(inputs, m, d);
    }

    /** From the gradients of all parts, [B, parts·D] float32. */
    private void backwardModulation(Modulation modulation, List<Linear> linears, Tensor dValues) {
      Tensor dOut = dValues;
      for (int i = linears.size() - 1; i >= 0; i--) {
        Linear linear = linears.get(i);
        put(linear.dBias, dOut.sum(0));
        Tensor narrow = dOut.to(type);
        ops.weightGradient(narrow, modulation.inputs.get(i), linear.dWeight, accumulate);
        Tensor dIn =
            images.rows("dModulation." + i, pack.images(), linear.weight.size(1), type); // [B, ...]
        ops.inputGradient(narrow, linear.weight, dIn);
        dOut = dIn.to(ScalarType.Float);
      }
      dActive.add_(dOut);
    }

    private Tensor modulationGradients(int parts) {
      return images.rows("gradients." + parts, pack.images(), parts * d, ScalarType.Float);
    }

    private Tensor part(Tensor all, int index) {
      return all.narrow(1, index * d, d); // [B, D]
    }

    // -------------------------------------------------------------- Forward

    /** Leaves the last norm's result in the buffer "normed"; gives the REPA term, if asked for. */
    private Optional<Tensor> forward(Tensor x, Tensor active) {
      for (int i = 0; i < blocks.size(); i++) {
        modulations[i] = modulation("modulation." + i, blocks.get(i).modulation, active);
      }
      finalModulations = modulation("modulation.final", finalModulation, active);
      boolean align = batch.features().isPresent() && loss.projCoeff() > 0;
      Optional<Tensor> projection = Optional.empty();
      Tensor h = rows("normed", n, d);
      Tensor residual = rows("x.0", n, d);
      ops.linear(x, embedder.weight, embedder.bias, residual);
      ops.adaLn(residual, modulations[0].part(0), modulations[0].part(1), pack, h);
      for (int i = 0; i < blocks.size(); i++) {
        saved[i] = new Saved();
        saved[i].x = residual;
        Tensor next = rows("x." + (i + 1), n, d);
        Modulation m = modulations[i];
        boolean last = i + 1 == blocks.size();
        Modulation after = last ? finalModulations : modulations[i + 1];
        try (PointerScope each = new PointerScope()) {
          forwardBlock(i, h);
          ops.gatedAdaLn(
              saved[i].middle,
              saved[i].mlp,
              m.part(5),
              after.part(0),
              after.part(1),
              pack,
              next,
              h);
          if (!checkpointing) {
            saved[i].keepBeyond(each);
          }
        }
        residual = next;
        if (align && i + 1 == config.encoderDepth()) {
          projection = Optional.of(project(residual));
        }
      }
      lastResidual = residual;
      return projection;
    }

    /** From the first norm's result in {@code h}, which is overwritten, to both branches. */
    private void forwardBlock(int index, Tensor h) {
      Block block = blocks.get(index);
      Saved s = saved[index];
      Modulation m = modulations[index];
      String kept = checkpointing ? "" : "." + index;
      s.middle = rows("middle" + kept, n, d);
      s.qkv = rows("qkv" + kept, n, 3 * d);
      s.rotated = heads(rows("rotated" + kept, n, 2 * d), 2);
      s.attention = rows("attention" + kept, n, d);
      s.hidden = rows("hidden" + kept, n, config.mlpHidden());
      s.mlp = rows("mlp" + kept, n, d);
      ops.linear(h, block.qkv.weight, block.qkv.bias, s.qkv);
      Tensor qk = s.rotated;
      ops.rotate(heads(s.qkv, 3), block.norm, pack, qk);
      s.attended = ops.attend(qk.select(1, 0), qk.select(1, 1), heads(s.qkv, 3).select(1, 2), pack);
      ops.linear(s.attended.out().flatten(1, 2), block.proj.weight, block.proj.bias, s.attention);
      ops.gatedAdaLn(s.x, s.attention, m.part(2), m.part(3), m.part(4), pack, s.middle, h);
      ops.linear(h, block.fc1.weight, block.fc1.bias, s.hidden);
      Tensor wide = rows("wide", n, config.mlpHidden());
      ops.gelu(s.hidden, wide);
      ops.linear(wide, block.fc2.weight, block.fc2.bias, s.mlp);
    }

    private Tensor heads(Tensor packed, int parts) {
      return packed.view(n, parts, config.numHeads(), config.headDim());
    }

    /** The REPA head, forward and backward by autograd: three products, once a step. */
    private Tensor project(Tensor h) {
      PointerScope outer = PointerScope.getInnerScope();
      try (PointerScope scope = new PointerScope();
          AutoGradMode on = new AutoGradMode(true)) {
        Tensor input = h.detach().set_requires_grad(true);
        List<Tensor> leaves = new ArrayList<>();
        Tensor z = input;
        for (int i = 0; i < projector.size(); i++) {
          Tensor weight = projector.get(i).weight.detach().set_requires_grad(true);
          Tensor bias = projector.get(i).bias.detach().set_requires_grad(true);
          leaves.add(weight);
          leaves.add(bias);
          z = torch.addmm(bias, i == 0 ? z : torch.silu(z), weight.t());
        }
        Tensor differentiable =
            FlowMatchingLoss.projection(batch.features().get(), z.to(ScalarType.Float)); // scalar
        differentiable.mul(new Scalar(share * loss.projCoeff())).backward();
        dProjected =
            Scopes.keep(new Tensor(input.grad()), outer); // grad() lives as long as its leaf
        try (NoGradGuard off = new NoGradGuard()) {
          for (int i = 0; i < projector.size(); i++) {
            put(projector.get(i).dWeight, leaves.get(2 * i).grad());
            put(projector.get(i).dBias, leaves.get(2 * i + 1).grad());
          }
        }
        return Scopes.keep(differentiable.detach(), outer);
      }
    }

    // -------------------------------------------------------------- Backward

    private void backwardFinal(Tensor dv, Tensor dx) {
      Tensor h = rows("normed", n, d);
      Tensor dh = rows("dNormed", n, d);
      Tensor dm = modulationGradients(2);
      ops.inputGradient(dv, finalLinear.weight, dh);
      ops.adaLnBackward(
          lastResidual,
          dh,
          Optional.empty(),
          finalModulations.part(0),
          finalModulations.part(1),
          pack,
          dx,
          h,
          part(dm, 0),
          part(dm, 1));
      ops.weightGradient(dv, h, finalLinear.dWeight, accumulate);
      ops.biasGradient(dv, finalLinear.dBias, accumulate);
      backwardModulation(finalModulations, finalModulation, dm);
      if (!projector.isEmpty() && dProjected == null && !accumulate) {
        projector.forEach(
            linear -> {
              linear.dWeight.zero_();
              linear.dBias.zero_();
            });
      }
      listener.ready(finalFrom, flat.values().numel());
    }

    /** From attention's result to q, k and v before norm and rotation. */
    private void backwardAttention(Block block, Saved s, Tensor dAttended, Tensor dQkv) {
      for (FusedPack.Part part : pack.parts()) {
        try (PointerScope scope = new PointerScope()) {
          Tensor[] gradients =
              ops.attendBackward(
                  heads(dAttended, 1).select(1, 0),
                  s.rotated.select(1, 0),
                  s.rotated.select(1, 1),
                  heads(s.qkv, 3).select(1, 2),
                  s.attended,
                  pack,
                  part);
          ops.rotateBackward(
              gradients,
              part.rows(heads(s.qkv, 3)),
              block.norm,
              part.pack(),
              part.rows(heads(dQkv, 3)),
              block.dNorm,
              accumulate || part.start() > 0);
        }
      }
    }

    /** {@code dx}: towards the residual after the block, then before it. */
    private void backwardBlock(int index, Tensor dx) {
      Block block = blocks.get(index);
      Saved s = saved[index];
      Modulation m = modulations[index];
      Tensor h = rows("normed", n, d);
      if (checkpointing) {
        ops.adaLn(s.x, m.part(0), m.part(1), pack, h);
        forwardBlock(index, h);
      }
      if (dProjected != null && index + 1 == config.encoderDepth()) {
        dx.add_(dProjected);
      }
      Tensor dm = modulationGradients(6);
      Tensor dBranch = rows("dBranch", n, d);
      Tensor dh = rows("dNormed", n, d);
      Tensor wide = rows("wide", n, config.mlpHidden());

      ops.gatedResidualBackward(
          dx, s.mlp, m.part(5), pack, dBranch, part(dm, 5), block.fc2.dBias, accumulate);
      ops.inputGradient(dBranch, block.fc2.weight, wide);
      Tensor activated = s.hidden; // GELU's result takes the place of its input
      ops.geluBackward(s.hidden, wide, wide, activated, block.fc1.dBias, accumulate);
      ops.weightGradient(dBranch, activated, block.fc2.dWeight, accumulate);
      ops.inputGradient(wide, block.fc1.weight, dh);
      ops.adaLnBackward(
          s.middle,
          dh,
          Optional.of(dx),
          m.part(3),
          m.part(4),
          pack,
          dx,
          h,
          part(dm, 3),
          part(dm, 4));
      ops.weightGradient(wide, h, block.fc1.dWeight, accumulate);
      long to = index + 1 < blocks.size() ? blocks.get(index + 1).from : finalFrom;
      listener.ready(block.fromMlp, to);

      ops.gatedResidualBackward(
          dx, s.attention, m.part(2), pack, dBranch, part(dm, 2), block.proj.dBias, accumulate);
      Tensor dAttended = dh;
      ops.inputGradient(dBranch, block.proj.weight, dAttended);
      ops.weightGradient(dBranch, s.attended.out().flatten(1, 2), block.proj.dWeight, accumulate);
      Tensor dQkv = rows("dQkv", n, 3 * d);
      backwardAttention(block, s, dAttended, dQkv);
      ops.biasGradient(dQkv, block.qkv.dBias, accumulate);
      ops.inputGradient(dQkv, block.qkv.weight, dh);
      ops.adaLnBackward(
          s.x, dh, Optional.of(dx), m.part(0), m.part(1), pack, dx, h, part(dm, 0), part(dm, 1));
      ops.weightGradient(dQkv, h, block.qkv.dWeight, accumulate);
      listener.ready(block.fromAttention, block.fromMlp);

      backwardModulation(m, block.modulation, dm);
      listener.ready(block.from, block.fromAttention);
      s.release();
      saved[index] = null;
    }
  }

  /** Frees activations and the weights' copy. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      tokens.close();
      images.close();
      owned.close();
    }
  }
}
