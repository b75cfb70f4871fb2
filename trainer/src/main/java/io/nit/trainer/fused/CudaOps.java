package io.nit.trainer.fused;

import io.nit.core.cuda.NitKernels;
import io.nit.core.cuda.TrainingKernels;
import io.nit.trainer.model.NitModel;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.bytedeco.pytorch.global.torch_cuda;

/**
 * The pieces on a GPU, in bfloat16: our kernels, cuBLAS through libtorch, and FlashAttention's
 * backward (off Hopper its forward too). Works on the stream that is libtorch's current one when it
 * is made.
 */
public final class CudaOps implements FusedOps {
  private static final int PARTIAL_COLUMNS = 1024;
  private static final int PARTIAL_STEP = 2048; // rows of partial sums, 8 MiB
  private static final int RESULT_ROWS = 1024;

  private final NitKernels kernels;
  private final Cublas products;
  private final Buffers scratch;
  private final long stream;
  private final boolean hopper; // whether our own attention runs
  private final int multiprocessors;
  private int spared;
  private final boolean padded; // whether FlashAttention keeps its sums as [B, H, longest]
  private final List<Tensor> generator; // seed and offset, without dropout of no meaning
  private final PointerScope owned;
  private boolean closed;

  /**
   * Loads the kernels.
   *
   * @throws IOException if the kernels' library is not there or cannot be loaded
   */
  public CudaOps(Device device) throws IOException {
    kernels = TrainingKernels.load();
    try (PointerScope scope = new PointerScope()) {
      CUstream_st current = torch_cuda.getCurrentCUDAStream().stream();
      stream = current == null ? 0 : current.address();
      products = new Cublas(current);
      hopper =
          torch_cuda.getCurrentDeviceProperties().major() == 9
              && torch_cuda.getCurrentDeviceProperties().minor() == 0;
      multiprocessors = torch_cuda.getCurrentDeviceProperties().multiProcessorCount();
      List<Tensor> state = probe(device).state();
      padded = state.get(0).dim() == 3;
      generator = state.subList(1, 3);
      owned = scope.extend();
    }
    scratch = new Buffers(device, PARTIAL_STEP);
  }

  private static long address(Tensor tensor) {
    return tensor.data_ptr().address();
  }

  /** Partial sums, float32; the memory of a name is used again by the next piece that asks. */
  private Tensor partial(String name, long elements) {
    long rows = (elements + PARTIAL_COLUMNS - 1) / PARTIAL_COLUMNS;
    scratch.reserve(rows);
    return scratch.rows(name, rows, PARTIAL_COLUMNS, ScalarType.Float);
  }

  private static long ceil(long count, int each) {
    return (count + each - 1) / each;
  }

  @Override
  public void spare(int wanted) {
    if (wanted != spared) {
      products.limit(wanted == 0 ? 0 : Math.max(1, multiprocessors - wanted));
      spared = wanted;
    }
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
    products.transposedProduct(dOut, x, gradient, accumulate);
  }

  @Override
  public void biasGradient(Tensor rows, Tensor gradient, boolean accumulate) {
    try (PointerScope scope = new PointerScope()) {
      long groups = ceil(rows.size(0), TrainingKernels.COLUMN_ROWS);
      int width = (int) rows.size(1);
      Tensor partial = partial("first", groups * width);
      TrainingKernels.columnSums(address(rows), address(partial), rows.size(0), width, stream);
      sumRows(partial, 0, gradient, groups, width, accumulate);
    }
  }

  private void sumRows(
      Tensor partial, long offset, Tensor out, long rows, long rowStride, boolean accumulate) {
    TrainingKernels.sumRows(
        address(partial) + offset * Float.BYTES,
        address(out),
        rows,
        (int) out.numel(),
        rowStride,
        accumulate,
        stream);
  }

  @Override
  public void adaLn(Tensor x, Tensor shift, Tensor scale, FusedPack pack, Tensor out) {
    try (PointerScope scope = new PointerScope()) {
      kernels.packedAdaLn(
          address(x),
          address(shift),
          address(scale),
          address(pack.imageIndex()),
          address(out),
          x.size(0),
          (int) x.size(1),
          shift.stride(0),
          (float) NitModel.NORM_EPS,
          NitKernels.BF16,
          stream);
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
    if (gate.stride(0) != shift.stride(0)) {
      // The kernel takes one stride; only the model's last norm comes with another.
      try (PointerScope scope = new PointerScope()) {
        kernels.gatedResidual(
            address(x),
            address(y),
            address(gate),
            address(pack.imageIndex()),
            address(residual),
            x.size(0),
            (int) x.size(1),
            gate.stride(0),
            NitKernels.BF16,
            stream);
      }
      adaLn(residual, shift, scale, pack, out);
      return;
    }
    try (PointerScope scope = new PointerScope()) {
      kernels.gatedAdaLn(
          address(x),
          address(y),
          address(gate),
          address(shift),
          address(scale),
          address(pack.imageIndex()),
          address(residual),
          address(out),
          x.size(0),
          (int) x.size(1),
          gate.stride(0),
          (float) NitModel.NORM_EPS,
          NitKernels.BF16,
          stream);
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
      int chunks = (int) pack.chunks().size(0);
      int hidden = (int) x.size(1);
      Tensor first = partial("first", (long) chunks * hidden);
      Tensor second = partial("second", (long) chunks * hidden);
      TrainingKernels.layerNormBackward(
          address(x),
          address(dOut),
          dResidual.map(CudaOps::address).orElse(0L),
          address(shift),
          address(scale),
          address(pack.chunks()),
          address(dx),
          address(out),
          address(first),
          address(second),
          chunks,
          hidden,
          shift.stride(0),
          (float) NitModel.NORM_EPS,
          stream);
      imageSums(first, second, pack, dShift, dScale);
    }
  }

  private void imageSums(Tensor first, Tensor second, FusedPack pack, Tensor a, Tensor b) {
    TrainingKernels.imageSums(
        address(first),
        address(second),
        address(pack.chunkStarts()),
        address(a),
        address(b),
        a.stride(0),
        b.stride(0),
        pack.images(),
        (int) a.size(1),
        stream);
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
      int chunks = (int) pack.chunks().size(0);
      int hidden = (int) y.size(1);
      Tensor first = partial("first", (long) chunks * hidden);
      Tensor second = partial("second", (long) chunks * hidden);
      TrainingKernels.gatedResidualBackward(
          address(dResidual),
          address(y),
          address(gate),
          address(pack.chunks()),
          address(dy),
          address(first),
          address(second),
          chunks,
          hidden,
          gate.stride(0),
          stream);
      Tensor sums = partial("sums", (long) pack.images() * hidden);
      Tensor perImage = sums.view(-1).narrow(0, 0, (long) pack.images() * hidden);
      perImage = perImage.view(pack.images(), hidden);
      imageSums(first, second, pack, dGate, perImage);
      // Σ over tokens of gate·dResidual, image by image.
      Tensor bias = perImage.mul_(gate).sum(0);
      if (accumulate) {
        dBias.add_(bias);
      } else {
        dBias.copy_(bias);
      }
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
      long groups = ceil(x.size(0), TrainingKernels.COLUMN_ROWS);
      int width = (int) x.size(1);
      Tensor partial = partial("first", groups * width);
      TrainingKernels.geluBackward(
          address(x),
          address(dOut),
          address(dx),
          address(out),
          address(partial),
          x.size(0),
          width,
          stream);
      sumRows(partial, 0, dBias, groups, width, accumulate);
    }
  }

  @Override
  public void rotate(Tensor qkv, Optional<QkNorm> norm, FusedPack pack, Tensor out) {
    try (PointerScope scope = new PointerScope()) {
      TrainingKernels.rotate(
          address(qkv),
          address(out),
          address(pack.cosine()),
          address(pack.sine()),
          norm.map(n -> address(n.qWeight())).orElse(0L),
          norm.map(n -> address(n.qBias())).orElse(0L),
          norm.map(n -> address(n.kWeight())).orElse(0L),
          norm.map(n -> address(n.kBias())).orElse(0L),
          qkv.size(0),
          (int) qkv.size(2),
          (int) qkv.size(3),
          (float) NitModel.QK_NORM_EPS,
          stream);
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
      long groups = ceil(qkv.size(0), TrainingKernels.ROPE_ROWS);
      int headDim = (int) qkv.size(3);
      Tensor first = partial("first", groups * 2 * headDim);
      Tensor second = partial("second", groups * 2 * headDim);
      TrainingKernels.rotateBackward(
          address(gradients[0]),
          address(gradients[1]),
          address(gradients[2]),
          address(qkv),
          address(pack.cosine()),
          address(pack.sine()),
          norm.map(n -> address(n.qWeight())).orElse(0L),
          norm.map(n -> address(n.kWeight())).orElse(0L),
          address(dqkv),
          address(first),
          address(second),
          qkv.size(0),
          (int) qkv.size(2),
          headDim,
          (float) NitModel.QK_NORM_EPS,
          stream);
      if (dNorm.isPresent()) {
        QkNorm target = dNorm.get();
        long stride = 2L * headDim;
        sumRows(first, 0, target.qWeight(), groups, stride, accumulate);
        sumRows(first, headDim, target.qBias(), groups, stride, accumulate);
        sumRows(second, 0, target.kWeight(), groups, stride, accumulate);
        sumRows(second, headDim, target.kBias(), groups, stride, accumulate);
      }
    }
  }

  /**
   * What FlashAttention's backward wants beside our forward's results, asked of its own forward.
   */
  private static Attended probe(Device device) {
    int[] lengths = {0, 1, 3};
    Tensor cuSeqlens = Tensor.create(lengths, 3).to(device, ScalarType.Int);
    Tensor q = torch.zeros(3, 1, 64).to(device, ScalarType.BFloat16);
    return FlashAttention.forward(q, q, q, cuSeqlens, 2);
  }

  @Override
  public Attended attend(Tensor q, Tensor k, Tensor v, FusedPack pack) {
    if (!hopper) {
      return FlashAttention.forward(q, k, v, pack.cuSeqlens(), pack.longest());
    }
    long n = q.size(0);
    long heads = q.size(1);
    // One size for packs of about the same tokens, so that the allocator has it from the last step.
    long room = ceil(n, RESULT_ROWS) * RESULT_ROWS;
    Tensor out = v.new_empty(room, heads, q.size(2)).narrow(0, 0, n);
    Tensor logSumExp = pack.cosine().new_empty(heads, n); // float32
    try (PointerScope scope = new PointerScope()) {
      TrainingKernels.attention(
          address(q),
          address(k),
          address(v),
          address(out),
          address(logSumExp),
          address(pack.cuSeqlens()),
          n,
          pack.images(),
          (int) heads,
          (int) q.size(2),
          q.stride(0),
          v.stride(0),
          stream);
    }
    return new Attended(out, List.of(logSumExp, generator.get(0), generator.get(1)));
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
    FusedPack own = part.pack();
    Tensor logSumExp = attended.state().get(0);
    if (own != pack) {
      // FlashAttention takes neither strides nor a first token here.
      logSumExp =
          logSumExp.dim() == 2
              ? logSumExp.narrow(1, part.start(), own.tokens()).contiguous() // [H, N]
              : logSumExp
                  .narrow(0, part.image(), own.images())
                  .narrow(2, 0, own.longest())
                  .contiguous(); // [B, H, longest]
    }
    if (hopper && padded) {
      logSumExp = padded(logSumExp, own, (int) q.size(1));
    }
    return FlashAttention.backward(
        part.rows(dOut),
        part.rows(q),
        part.rows(k),
        part.rows(v),
        new Attended(
            part.rows(attended.out()),
            List.of(logSumExp, attended.state().get(1), attended.state().get(2))),
        own.cuSeqlens(),
        own.longest());
  }

  /** From [H, N] to [B, H, longest]. */
  private Tensor padded(Tensor logSumExp, FusedPack pack, int heads) {
    Tensor laidOut = logSumExp.new_empty(pack.images(), heads, pack.longest());
    try (PointerScope scope = new PointerScope()) {
      TrainingKernels.padLogSumExp(
          address(logSumExp),
          address(pack.imageIndex()),
          address(pack.cuSeqlens()),
          address(laidOut),
          pack.tokens(),
          heads,
          pack.longest(),
          stream);
    }
    return laidOut;
  }

  @Override
  public void update(
      UpdateTensors tensors, Tensor scalars, double beta1, double beta2, double epsilon) {
    try (PointerScope scope = new PointerScope()) {
      TrainingKernels.adamW(
          address(tensors.parameters()),
          address(tensors.expAvg()),
          address(tensors.expAvgSq()),
          tensors.average().map(CudaOps::address).orElse(0L),
          tensors.copy().map(CudaOps::address).orElse(0L),
          address(tensors.gradients()),
          address(scalars),
          tensors.parameters().numel(),
          (float) beta1,
          (float) beta2,
          (float) epsilon,
          stream);
    }
  }

  @Override
  public void close() {
    if (!closed) {
      closed = true;
      scratch.close();
      products.close();
      owned.close();
    }
  }
}
