package io.nit.trainer.model;

import org.bytedeco.pytorch.global.torch;

/**
 * Which kernels compute convolutions on CUDA, for the whole process, from the opening to the close;
 * then those of before again. Nothing changes on the CPU.
 *
 * <p>cuDNN takes about a second to choose its kernels for a shape that it has not seen (pictures,
 * height and width), and is the faster one from then on. libtorch's own kernels choose nothing:
 * they are for work of many shapes. They unfold one picture at a time, so a 3×3 convolution needs
 * nine times the memory of a picture's activations.
 *
 * <p>Whoever opens one closes it before others begin to compute: these are neither counted nor
 * bound to a thread.
 */
public final class ConvolutionKernels implements AutoCloseable {
  private final boolean before;
  private boolean closed;

  private ConvolutionKernels(boolean cudnn) {
    before = torch.globalContext().userEnabledCuDNN();
    torch.globalContext().setUserEnabledCuDNN(cudnn);
  }

  /** libtorch's own, until the close. */
  public static ConvolutionKernels own() {
    return new ConvolutionKernels(false);
  }

  /** cuDNN's, until the close. */
  public static ConvolutionKernels cudnn() {
    return new ConvolutionKernels(true);
  }

  /** Back to those of before. A second call does nothing. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      torch.globalContext().setUserEnabledCuDNN(before);
    }
  }
}
