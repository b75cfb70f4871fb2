package io.nit.tests.bench;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.trainer.fused.Attended;
import io.nit.trainer.fused.CudaOps;
import io.nit.trainer.fused.FusedOps;
import io.nit.trainer.fused.FusedPack;
import io.nit.trainer.fused.QkNorm;
import java.io.IOException;
import java.util.Arrays;
import java.util.Locale;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.cuda.CUDAEvent;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * The time of every piece of the fused step by itself, over a pack, with what it must move or
 * multiply. Second passes over partial sums count as part of their piece, and their bytes do not.
 */
final class PieceTimes {
  private static final int ROUNDS = 20;

  private final Device device;
  private final long n;

  private PieceTimes(Device device, long n) {
    this.device = device;
    this.n = n;
  }

  private Tensor random(long... dims) {
    return torch
        .empty(0)
        .to(device, ScalarType.BFloat16)
        .new_empty(dims)
        .normal_(0, 1, new GeneratorOptional());
  }

  private Tensor floats(long... dims) {
    return torch.zeros(dims).to(device, ScalarType.Float);
  }

  private static double median(Runnable piece) {
    double[] times = new double[ROUNDS];
    for (int i = -3; i < ROUNDS; i++) {
      try (PointerScope scope = new PointerScope()) {
        CUDAEvent start = new CUDAEvent(0);
        CUDAEvent end = new CUDAEvent(0);
        start.record();
        piece.run();
        end.record();
        end.synchronize();
        if (i >= 0) {
          times[i] = 1e3 * start.elapsed_time(end);
        }
      }
    }
    Arrays.sort(times);
    return times[ROUNDS / 2];
  }

  private static void moved(String name, double bytes, Runnable piece) {
    double us = median(piece);
    System.out.printf(
        Locale.ROOT,
        "%-48s %9.1f us %9.1f MB %8.0f GB/s%n",
        name,
        us,
        bytes / 1e6,
        bytes / us / 1e3);
  }

  private static void multiplied(String name, double flops, Runnable piece) {
    double us = median(piece);
    System.out.printf(
        Locale.ROOT,
        "%-48s %9.1f us %9.1f GF %8.0f TFLOP/s%n",
        name,
        us,
        flops / 1e9,
        flops / us / 1e6);
  }

  /** Prints the table. */
  static void print(NitConfig config, Device device, PackLayout layout) throws IOException {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard();
        FusedOps ops = new CudaOps(device)) {
      FusedPack pack = FusedPack.of(layout, config, new Rope2d(), device);
      new PieceTimes(device, layout.tokens()).print(ops, config, pack);
      for (int side : new int[] {8, 16, 32, 64}) {
        int[] sides = new int[16384 / (side * side)];
        Arrays.fill(sides, side);
        PackLayout same = PackLayout.of(sides, sides);
        FusedPack uniform = FusedPack.of(same, config, new Rope2d(), device);
        new PieceTimes(device, same.tokens())
            .attention(ops, config, uniform, ", " + side * side + " tokens an image");
      }
    }
  }

  private void attention(FusedOps ops, NitConfig config, FusedPack pack, String which) {
    try (PointerScope scope = new PointerScope()) {
      Tensor qk = random(n, 2, config.numHeads(), config.headDim());
      Tensor q = qk.select(1, 0);
      Tensor k = qk.select(1, 1);
      Tensor v = random(n, 3, config.numHeads(), config.headDim()).select(1, 2);
      Tensor dOut = random(n, config.numHeads(), config.headDim());
      double pairs = 0;
      for (int i = 0; i < pack.images(); i++) {
        pairs += (double) pack.layout().tokens(i) * pack.layout().tokens(i);
      }
      double flops = 4 * pairs * config.hiddenSize();
      multiplied("attention" + which, flops, () -> ops.attend(q, k, v, pack));
      Attended attended = ops.attend(q, k, v, pack);
      multiplied(
          "attention, backward" + which,
          2.5 * flops,
          () -> ops.attendBackward(dOut, q, k, v, attended, pack));
      if (!pack.split().isEmpty()) {
        multiplied(
            "attention, backward in " + pack.split().size() + " parts" + which,
            2.5 * flops,
            () ->
                pack.split()
                    .forEach(part -> ops.attendBackward(dOut, q, k, v, attended, pack, part)));
      }
    }
  }

  private void print(FusedOps ops, NitConfig config, FusedPack pack) {
    long d = config.hiddenSize();
    long w = config.mlpHidden();
    long heads = config.numHeads();
    long headDim = config.headDim();
    long b = pack.images();
    double unit = 2.0 * n * d; // bytes of [N, D]
    Tensor x = random(n, d);
    Tensor y = random(n, d);
    Tensor z = random(n, d);
    Tensor out = random(n, d);
    Tensor wide = random(n, w);
    Tensor wide2 = random(n, w);
    Tensor triple = random(n, 3 * d);
    Tensor triple2 = random(n, 3 * d);
    Tensor m = random(b, 6 * d);
    Tensor dm = floats(b, 6 * d);
    Tensor bias = floats(w);
    Tensor copied = torch.empty_like(wide);
    moved("copy of [tokens, mlp]", 8 * unit, () -> copied.copy_(wide));
    moved("adaLn", 2 * unit, () -> ops.adaLn(x, m.narrow(1, 0, d), m.narrow(1, d, d), pack, out));
    moved(
        "gatedAdaLn",
        4 * unit,
        () ->
            ops.gatedAdaLn(
                x, y, m.narrow(1, 2 * d, d), m.narrow(1, 0, d), m.narrow(1, d, d), pack, z, out));
    moved(
        "adaLnBackward",
        5 * unit,
        () ->
            ops.adaLnBackward(
                x,
                y,
                Optional.of(z),
                m.narrow(1, 0, d),
                m.narrow(1, d, d),
                pack,
                z,
                out,
                dm.narrow(1, 0, d),
                dm.narrow(1, d, d)));
    moved(
        "gatedResidualBackward",
        3 * unit,
        () ->
            ops.gatedResidualBackward(
                x,
                y,
                m.narrow(1, 0, d),
                pack,
                out,
                dm.narrow(1, 0, d),
                bias.narrow(0, 0, d),
                false));
    moved("gelu", 2.0 * w / d * unit, () -> ops.gelu(wide, wide2));
    moved(
        "geluBackward",
        4.0 * w / d * unit,
        () -> ops.geluBackward(wide, wide2, wide2, wide, bias, false));
    moved(
        "biasGradient of qkv",
        3 * unit,
        () -> ops.biasGradient(triple, bias.narrow(0, 0, 3 * d), false));
    QkNorm norm = new QkNorm(random(headDim), random(headDim), random(headDim), random(headDim));
    QkNorm dNorm = new QkNorm(floats(headDim), floats(headDim), floats(headDim), floats(headDim));
    Tensor qk = random(n, 2, heads, headDim);
    Tensor qkv = triple.view(n, 3, heads, headDim);
    double tables = 8.0 * n * headDim;
    moved("rotate", 4 * unit + tables, () -> ops.rotate(qkv, Optional.of(norm), pack, qk));
    Tensor q = qk.select(1, 0);
    Tensor k = qk.select(1, 1);
    Tensor v = qkv.select(1, 2);
    attention(ops, config, pack, "");
    Tensor dOut = random(n, heads, headDim);
    Attended attended = ops.attend(q, k, v, pack);
    Tensor[] gradients = ops.attendBackward(dOut, q, k, v, attended, pack);
    moved(
        "rotateBackward",
        8 * unit + tables,
        () ->
            ops.rotateBackward(
                gradients,
                qkv,
                Optional.of(norm),
                pack,
                triple2.view(n, 3, heads, headDim),
                Optional.of(dNorm),
                false));
    product(ops, "qkv", x, random(3 * d, d), triple, floats(3 * d, d));
    product(ops, "proj", x, random(d, d), out, floats(d, d));
    product(ops, "fc1", x, random(w, d), wide, floats(w, d));
    product(ops, "fc2", wide, random(d, w), out, floats(d, w));
    Tensor active = random(b, d);
    product(ops, "modulation", active, random(6 * d, d), m, floats(6 * d, d));
    long elements = 1L << 26;
    Tensor scalars = floats(6);
    scalars.narrow(0, 0, 5).fill_(new Scalar(1f));
    FusedOps.UpdateTensors tensors =
        new FusedOps.UpdateTensors(
            floats(elements),
            floats(elements),
            floats(elements),
            floats(elements),
            Optional.of(floats(elements)),
            Optional.of(floats(elements).to(ScalarType.BFloat16)));
    moved("update of 2^26", 38.0 * elements, () -> ops.update(tensors, scalars, 0.9, 0.95, 1e-6));
    Tensor gradient = tensors.gradients();
    moved("norm of 2^26", 4.0 * elements, gradient::norm);
  }

  /** Forward and both backward products of a Linear. */
  private static void product(
      FusedOps ops, String name, Tensor x, Tensor weight, Tensor out, Tensor gradient) {
    double flops = 2.0 * x.size(0) * weight.numel();
    Tensor bias = out.narrow(0, 0, 1).view(-1).clone();
    Tensor dx = torch.empty_like(x);
    multiplied(name + ", forward", flops, () -> ops.linear(x, weight, bias, out));
    multiplied(name + ", input gradient", flops, () -> ops.inputGradient(out, weight, dx));
    multiplied(
        name + ", weight gradient", flops, () -> ops.weightGradient(out, x, gradient, false));
  }
}
