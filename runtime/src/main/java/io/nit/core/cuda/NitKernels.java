package io.nit.core.cuda;

import java.io.IOException;

/**
 * The kernels of {@code libnit_plugins.so} for callers that hold device memory: libtorch tensors,
 * TensorRT buffers. Every method launches on a stream and returns; nothing is read back, nothing is
 * allocated, so that all of it can be captured in a CUDA graph.
 *
 * <p>Legend: N tokens, B images, D hidden, H heads, d headDim. Addresses are device addresses, 0
 * for a tensor that is not given; strides are in elements; {@code stream} is a {@code
 * cudaStream_t}, 0 for the default one. The caller keeps all tensors alive until the stream has
 * passed the launch. Rows on 16-byte boundaries are fastest; others are right.
 */
public final class NitKernels {
  /** Element type of activations: bfloat16. */
  public static final int BF16 = 0;

  /** Element type of activations: IEEE half precision. */
  public static final int FP16 = 1;

  private static NitKernels loaded;

  private final PluginLibrary library;

  private NitKernels(PluginLibrary library) {
    this.library = library;
  }

  /** Which attention kernel runs. */
  public enum Path {
    /** The fastest that fits the GPU, headDim and alignment. */
    AUTO,
    /** sm_80 and up: mma.sync and cp.async. */
    PORTABLE,
    /** sm_90a: wgmma and bulk tensor copies; headDim 64 or 72, 16-byte aligned rows. */
    HOPPER
  }

  /**
   * The library that {@link PluginLibrary#find} finds, loaded once a process.
   *
   * @throws IOException if there is none, or the one found cannot be loaded
   */
  public static synchronized NitKernels load() throws IOException {
    if (loaded == null) {
      PluginLibrary library = PluginLibrary.find();
      try {
        System.load(library.file().toString());
      } catch (UnsatisfiedLinkError e) {
        throw new IOException(library + ": cannot be loaded: " + e.getMessage(), e);
      }
      loaded = new NitKernels(library);
    }
    return loaded;
  }

  /** What was loaded. */
  public PluginLibrary library() {
    return library;
  }

  /**
   * What the loaded code says of itself; the same text that was read from the file.
   *
   * @return {@code NIT_PLUGINS{version=...;cuda=...;architectures=...}}
   */
  public static native String description();

  /**
   * Softmax attention of every token to the tokens of its own image.
   *
   * @param q [N, H, d]; q, k and v may be parts of one packed qkv buffer
   * @param k [N, H, d]
   * @param v [N, H, d]
   * @param out [N, H, d]
   * @param logSumExp [H, N] float32, natural logarithm, or 0
   * @param cuSeqlens [B + 1] int32, rising from 0 to N, read on the device
   * @param tokens N
   * @param images B
   * @param heads H
   * @param headDim d, a multiple of 8 from 8 to 128
   * @param qkvTokenStride elements between tokens of q, k and v
   * @param outTokenStride elements between tokens of out
   * @param scale of q·kᵀ; 0 for 1/√d
   * @param type {@link #BF16} or {@link #FP16}
   * @param path which kernel
   * @param stream a cudaStream_t
   * @throws KernelException if a value is refused or CUDA fails
   */
  public void varlenAttention(
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
      long qkvTokenStride,
      long outTokenStride,
      float scale,
      int type,
      Path path,
      long stream) {
    varlenAttention(
        q,
        k,
        v,
        out,
        logSumExp,
        cuSeqlens,
        tokens,
        images,
        heads,
        headDim,
        qkvTokenStride,
        outTokenStride,
        scale,
        type,
        path.ordinal(),
        stream);
  }

  private static native void varlenAttention(
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
      long qkvTokenStride,
      long outTokenStride,
      float scale,
      int type,
      int path,
      long stream);

  /**
   * LayerNorm over headDim on q and k where weights are given, then 2-D RoPE on both.
   *
   * @param qkv [N, 3, H, d]
   * @param out like qkv; qkv itself for in place, where v is not touched
   * @param cosine [N, d] float32
   * @param sine [N, d] float32
   * @param qWeight [d] or 0, and then the other three are 0
   * @param qBias [d]
   * @param kWeight [d]
   * @param kBias [d]
   * @param tokens N
   * @param heads H
   * @param headDim d, a multiple of 8 from 8 to 128
   * @param qkvTokenStride elements between tokens of qkv
   * @param outTokenStride elements between tokens of out
   * @param epsilon of the LayerNorm
   * @param type {@link #BF16} or {@link #FP16}
   * @param stream a cudaStream_t
   * @throws KernelException if a value is refused or CUDA fails
   */
  public native void qkNormRope2d(
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
      long qkvTokenStride,
      long outTokenStride,
      float epsilon,
      int type,
      long stream);

  /**
   * {@code out = LayerNorm(x)·(1 + scale[image]) + shift[image]}, the norm without affine.
   *
   * @param x [N, D]
   * @param shift [B, D], rows modulationStride apart
   * @param scale [B, D], likewise
   * @param imageIndex [N] int32
   * @param out [N, D]
   * @param tokens N
   * @param hidden D
   * @param modulationStride elements between images of shift and scale
   * @param epsilon of the LayerNorm
   * @param type {@link #BF16} or {@link #FP16}
   * @param stream a cudaStream_t
   * @throws KernelException if a value is refused or CUDA fails
   */
  public void packedAdaLn(
      long x,
      long shift,
      long scale,
      long imageIndex,
      long out,
      long tokens,
      int hidden,
      long modulationStride,
      float epsilon,
      int type,
      long stream) {
    adaLn(
        x,
        0,
        0,
        shift,
        scale,
        imageIndex,
        0,
        required(out, "out"),
        tokens,
        hidden,
        modulationStride,
        epsilon,
        type,
        stream);
  }

  /**
   * {@code residual = x + gate[image]·y}.
   *
   * @param x [N, D]
   * @param y [N, D]
   * @param gate [B, D], rows modulationStride apart
   * @param imageIndex [N] int32
   * @param residual [N, D]; may be x or y
   * @param tokens N
   * @param hidden D
   * @param modulationStride elements between images of gate
   * @param type {@link #BF16} or {@link #FP16}
   * @param stream a cudaStream_t
   * @throws KernelException if a value is refused or CUDA fails
   */
  public void gatedResidual(
      long x,
      long y,
      long gate,
      long imageIndex,
      long residual,
      long tokens,
      int hidden,
      long modulationStride,
      int type,
      long stream) {
    adaLn(
        x,
        required(y, "y"),
        gate,
        0,
        0,
        imageIndex,
        residual,
        0,
        tokens,
        hidden,
        modulationStride,
        0,
        type,
        stream);
  }

  /**
   * Both in one pass: {@code residual = x + gate[image]·y} and {@code out = LayerNorm(residual)·(1
   * + scale[image]) + shift[image]}.
   *
   * @param x [N, D]
   * @param y [N, D]
   * @param gate [B, D], rows modulationStride apart, like shift and scale
   * @param shift [B, D]
   * @param scale [B, D]
   * @param imageIndex [N] int32
   * @param residual [N, D]; may be x or y
   * @param out [N, D]
   * @param tokens N
   * @param hidden D
   * @param modulationStride elements between images of gate, shift and scale
   * @param epsilon of the LayerNorm
   * @param type {@link #BF16} or {@link #FP16}
   * @param stream a cudaStream_t
   * @throws KernelException if a value is refused or CUDA fails
   */
  public void gatedAdaLn(
      long x,
      long y,
      long gate,
      long shift,
      long scale,
      long imageIndex,
      long residual,
      long out,
      long tokens,
      int hidden,
      long modulationStride,
      float epsilon,
      int type,
      long stream) {
    adaLn(
        x,
        required(y, "y"),
        gate,
        shift,
        scale,
        imageIndex,
        residual,
        required(out, "out"),
        tokens,
        hidden,
        modulationStride,
        epsilon,
        type,
        stream);
  }

  /** The native side tells the three apart by which of y and out is given. */
  private static long required(long address, String name) {
    if (address == 0) {
      throw new KernelException(name + ": expected a device address, found 0");
    }
    return address;
  }

  private static native void adaLn(
      long x,
      long y,
      long gate,
      long shift,
      long scale,
      long imageIndex,
      long residual,
      long out,
      long tokens,
      int hidden,
      long modulationStride,
      float epsilon,
      int type,
      long stream);
}
