package io.nit.trainer.fused;

import org.bytedeco.cuda.cublas.cublasContext;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cublas;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch_cuda;

/**
 * Products of bfloat16 with a float32 result, added to what is there or not: what libtorch's own
 * products do not offer.
 */
final class Cublas implements AutoCloseable {
  private final cublasContext context;
  private final FloatPointer one;
  private final FloatPointer zero;
  private final PointerScope owned;
  private boolean closed;

  /** A context on a stream. */
  Cublas(CUstream_st stream) {
    try (PointerScope scope = new PointerScope()) {
      context = new cublasContext();
      check(cublas.cublasCreate_v2(context), "cublasCreate");
      check(cublas.cublasSetStream_v2(context, stream), "cublasSetStream");
      one = new FloatPointer(1f);
      zero = new FloatPointer(0f);
      owned = scope.extend();
    }
  }

  /**
   * {@code out (+)= aᵀ·b}.
   *
   * @param a [rows, m] bfloat16, rows dense
   * @param b [rows, n] bfloat16, rows dense
   * @param out [m, n] float32
   */
  void transposedProduct(Tensor a, Tensor b, Tensor out, boolean accumulate) {
    // cuBLAS counts columns first: there a is [m, rows], b [n, rows], and out, [n, m], is b·aᵀ.
    int m = Math.toIntExact(a.size(1));
    int n = Math.toIntExact(b.size(1));
    try (PointerScope scope = new PointerScope()) {
      check(
          cublas.cublasGemmEx(
              context,
              cublas.CUBLAS_OP_N,
              cublas.CUBLAS_OP_T,
              n,
              m,
              Math.toIntExact(a.size(0)),
              one,
              b.data_ptr(),
              cudart.CUDA_R_16BF,
              Math.toIntExact(b.stride(0)),
              a.data_ptr(),
              cudart.CUDA_R_16BF,
              Math.toIntExact(a.stride(0)),
              accumulate ? one : zero,
              out.data_ptr(),
              cudart.CUDA_R_32F,
              n,
              cublas.CUBLAS_COMPUTE_32F,
              cublas.CUBLAS_GEMM_DEFAULT),
          "cublasGemmEx");
    }
  }

  /**
   * Has products take so many multiprocessors at most, here and, on the calling thread, in
   * libtorch's products without a bias.
   *
   * @param multiprocessors 0 for all
   */
  void limit(int multiprocessors) {
    try (PointerScope scope = new PointerScope()) {
      check(cublas.cublasSetSmCountTarget(context, multiprocessors), "cublasSetSmCountTarget");
      check(
          cublas.cublasSetSmCountTarget(torch_cuda.getCurrentCUDABlasHandle(), multiprocessors),
          "cublasSetSmCountTarget of libtorch's");
    }
  }

  private static void check(int status, String call) {
    if (status != cublas.CUBLAS_STATUS_SUCCESS) {
      throw new IllegalStateException(call + ": expected success, found cuBLAS status " + status);
    }
  }

  /** Frees the context. Safe to call twice. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      cublas.cublasDestroy_v2(context);
      owned.close();
    }
  }
}
