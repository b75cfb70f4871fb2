package io.nit.core.cuda;

import java.io.IOException;

/**
 * The backward kernels of {@code libnit_plugins.so} and its optimizer step, in bfloat16 with fp32
 * sums. As in {@link NitKernels}: device addresses, 0 for a tensor that is not given, a launch on a
 * stream, nothing read back, nothing allocated. All sums have one order.
 *
 * <p>Legend: N tokens, B images, D hidden (a multiple of 8, at most 2048), H heads, d headDim, C
 * chunks. A pack is cut into chunks of at most {@link #CHUNK_ROWS} tokens of one image: {@code
 * chunks} is [C, 4] int32 of image, first token, tokens, 0, and {@code chunkStarts} [B + 1] int32
 * the first chunk of each image. Rows are dense and begin at multiples of 16 bytes.
 */
public final class TrainingKernels {
  /** Most tokens of a chunk. */
  public static final int CHUNK_ROWS = 32;

  /** Rows that one partial sum of columns takes. */
  public static final int COLUMN_ROWS = 64;

  /** Tokens that one partial sum of {@link #rotateBackward} takes. */
  public static final int ROPE_ROWS = 20;

  private TrainingKernels() {}

  /**
   * Loads the library that {@link NitKernels#load} finds.
   *
   * @return the library's other kernels
   * @throws IOException if there is none, or it cannot be loaded
   */
  public static NitKernels load() throws IOException {
    return NitKernels.load();
  }

  /**
   * QK-norm and 2-D RoPE of q and k, out of place; v stays where it is.
   *
   * @param qkv [N, 3, H, d]
   * @param out [N, 2, H, d]
   * @param cosine [N, d] float32
   * @param sine [N, d] float32
   * @param qWeight [d] or 0, and then the other three are 0: no norm
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void rotate(
      long qkv,
      long out,
      long cosine,
      long sine,
      long qWeight,
      long qBias,
      long kWeight,
      long kBias,
      long tokens,
      int heads,
      int headDim,
      float epsilon,
      long stream);

  /**
   * Backward of {@code LayerNorm(x)·(1 + scale[image]) + shift[image]}.
   *
   * @param x [N, D]
   * @param dOut [N, D]
   * @param dResidual [N, D], added to dx; or 0
   * @param shift [B, D], rows modulationStride apart, like scale
   * @param dx [N, D]; may be dResidual
   * @param out [N, D], the forward's result once more; may be dOut; or 0
   * @param partialShift [C, D] float32, for {@link #imageSums}
   * @param partialScale [C, D] float32
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void layerNormBackward(
      long x,
      long dOut,
      long dResidual,
      long shift,
      long scale,
      long chunks,
      long dx,
      long out,
      long partialShift,
      long partialScale,
      int chunkCount,
      int hidden,
      long modulationStride,
      float epsilon,
      long stream);

  /**
   * Backward of {@code x + gate[image]·y}: {@code dy = gate[image]·dResidual}.
   *
   * @param dResidual [N, D]
   * @param y [N, D]
   * @param gate [B, D], rows modulationStride apart
   * @param dy [N, D]; may be y
   * @param partialGate [C, D] float32, sums of dResidual·y, for {@link #imageSums}
   * @param partialSum [C, D] float32, sums of dResidual
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void gatedResidualBackward(
      long dResidual,
      long y,
      long gate,
      long chunks,
      long dy,
      long partialGate,
      long partialSum,
      int chunkCount,
      int hidden,
      long modulationStride,
      long stream);

  /**
   * Adds the rows of each image's chunks, of two arrays.
   *
   * @param partialFirst [C, D] float32
   * @param partialSecond [C, D] float32
   * @param first [B, D] float32, rows firstStride apart
   * @param second [B, D] float32, rows secondStride apart
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void imageSums(
      long partialFirst,
      long partialSecond,
      long chunkStarts,
      long first,
      long second,
      long firstStride,
      long secondStride,
      int images,
      int hidden,
      long stream);

  /**
   * Backward of GELU (tanh form), and GELU once more.
   *
   * @param x [N, W]
   * @param dOut [N, W]
   * @param dx [N, W]; may be dOut
   * @param out [N, W], gelu(x); may be x
   * @param partial [⌈N / {@link #COLUMN_ROWS}⌉, W] float32, sums of dx, for {@link #sumRows}
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void geluBackward(
      long x, long dOut, long dx, long out, long partial, long tokens, int width, long stream);

  /**
   * Sums of the columns of x [N, W].
   *
   * @param partial [⌈N / {@link #COLUMN_ROWS}⌉, W] float32, for {@link #sumRows}
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void columnSums(long x, long partial, long tokens, int width, long stream);

  /**
   * The sum of rows.
   *
   * @param partial [rows, width] float32, rows rowStride apart
   * @param out [width] float32
   * @param accumulate whether to add to what is there
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void sumRows(
      long partial,
      long out,
      long rows,
      int width,
      long rowStride,
      boolean accumulate,
      long stream);

  /**
   * Backward of {@link #rotate}, with dv laid beside dq and dk.
   *
   * @param dq [N, H, d], and dk, dv likewise
   * @param qkv [N, 3, H, d], what the forward read
   * @param qWeight [d] or 0, like kWeight: no norm
   * @param dqkv [N, 3, H, d]
   * @param partialQ [⌈N / {@link #ROPE_ROWS}⌉, 2, d] float32, of the norm's weight and bias
   * @param partialK likewise
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void rotateBackward(
      long dq,
      long dk,
      long dv,
      long qkv,
      long cosine,
      long sine,
      long qWeight,
      long kWeight,
      long dqkv,
      long partialQ,
      long partialK,
      long tokens,
      int heads,
      int headDim,
      float epsilon,
      long stream);

  /**
   * {@link NitKernels#varlenAttention} of q and k from one buffer and v from another.
   *
   * @param q [N, H, d], and k, tokens qkTokenStride apart
   * @param v [N, H, d], tokens vTokenStride apart
   * @param out [N, H, d], dense
   * @param logSumExp [H, N] float32
   * @param cuSeqlens [B + 1] int32
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void attention(
      long q,
      long k,
      long v,
      long out,
      long logSumExp,
      long cuSeqlens,
      long tokens,
      int images,
      int heads,
      int headDim,
      long qkTokenStride,
      long vTokenStride,
      long stream);

  /**
   * Lays {@link #attention}'s logSumExp out as libtorch's FlashAttention backward takes it.
   *
   * @param logSumExp [H, N] float32
   * @param imageIndex [N] int32
   * @param cuSeqlens [B + 1] int32
   * @param padded [B, H, longest] float32; entries beyond an image's tokens are not written
   * @param longest tokens of the largest image
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void padLogSumExp(
      long logSumExp,
      long imageIndex,
      long cuSeqlens,
      long padded,
      long tokens,
      int heads,
      int longest,
      long stream);

  /**
   * AdamW with clipping, the moving average and the weights' copy in bfloat16, in one pass.
   *
   * @param parameters [n] float32, like expAvg, expAvgSq, average (or 0) and gradients
   * @param copy [n] bfloat16, or 0
   * @param scalars [6] float32 on the device: factor of the gradients; 0 for no step at all; {@code
   *     lr / (1 - β₁ᵏ)}; {@code √(1 - β₂ᵏ)}; {@code 1 - lr·λ}; 1 - decay of the average
   * @param elements n, a multiple of 8
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void adamW(
      long parameters,
      long expAvg,
      long expAvgSq,
      long average,
      long copy,
      long gradients,
      long scalars,
      long elements,
      float beta1,
      float beta2,
      float epsilon,
      long stream);
}
