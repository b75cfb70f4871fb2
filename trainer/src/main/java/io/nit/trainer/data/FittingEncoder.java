package io.nit.trainer.data;

import io.nit.core.codec.LatentCodec;
import io.nit.trainer.model.ConvolutionKernels;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Encodes pictures with a learned codec, in what fits into its device's memory.
 *
 * <p>On CUDA a type of many sizes is computed by libtorch's own kernels, one of a single size by
 * cuDNN's ({@link ConvolutionKernels}), whatever sizes there are: to count those that came before
 * would make bits depend on the order of pictures. What does not fit is the exception: it is
 * halved, and a picture alone that own kernels need too much for is left to cuDNN, which looks for
 * kernels that fit.
 *
 * <p>Any thread may encode. One at a time does, others wait: the kernels are the whole process's.
 */
final class FittingEncoder {
  private static final Logger LOG = LoggerFactory.getLogger(FittingEncoder.class);

  private final LatentCodec codec;
  private final String advice;
  private boolean halved;

  /** A picture that does not fit by any kernels. It may fit on another device. */
  static final class TooLargeException extends IOException {
    private static final long serialVersionUID = 1;

    TooLargeException(String message, Throwable cause) {
      super(message, cause);
    }
  }

  /**
   * An encoder over a codec, which stays the caller's.
   *
   * @param advice what takes less memory, for the end of the warning that batches are halved; empty
   *     for none
   */
  FittingEncoder(LatentCodec codec, String advice) {
    this.codec = codec;
    this.advice = advice;
  }

  /**
   * Latents of pictures of one size, in their order.
   *
   * @param planes each [3, height, width]
   * @param type whose kernels compute
   * @param most pictures at once
   * @return each [C, H, W]; of NaN where the codec refuses a latent that is not finite
   * @throws TooLargeException if a picture alone does not fit into the device's memory
   */
  synchronized List<float[]> encode(List<float[]> planes, DataType type, Resize.Size size, int most)
      throws TooLargeException {
    if (type.oneSize()) {
      return encode(planes, size, most, false);
    }
    try (ConvolutionKernels kernels = ConvolutionKernels.own()) {
      return encode(planes, size, most, true);
    }
  }

  /** With {@code own}, libtorch's own kernels compute. */
  private List<float[]> encode(List<float[]> planes, Resize.Size size, int most, boolean own)
      throws TooLargeException {
    if (planes.size() > most) {
      return parts(planes, Math.min(most, planes.size() / 2), size, most, own);
    }
    try {
      return codec.encodeBatch(planes, size.height(), size.width());
    } catch (ArithmeticException e) {
      // One of them is not finite, and it is not said which.
      if (planes.size() == 1) {
        float[] none = new float[codec.channels() * latentArea(size)];
        Arrays.fill(none, Float.NaN);
        return List.of(none);
      }
      return parts(planes, planes.size() / 2, size, most, own);
    } catch (RuntimeException e) {
      if (!outOfMemory(e)) {
        throw e;
      }
      if (planes.size() == 1 && own) {
        try (ConvolutionKernels kernels = ConvolutionKernels.cudnn()) {
          return encode(planes, size, most, false);
        }
      }
      if (planes.size() == 1) {
        throw new TooLargeException(
            "a picture of "
                + size.width()
                + "x"
                + size.height()
                + " does not fit into the device's memory; --max-side makes smaller ones",
            e);
      }
      if (!halved) {
        halved = true;
        LOG.warn(
            "{} pictures of {}x{}, mirrored ones counted, do not fit into the device's memory and"
                + " are encoded in two halves, as others will be{}",
            planes.size(),
            size.width(),
            size.height(),
            advice.isEmpty() ? "" : "; " + advice);
      }
      return parts(planes, planes.size() / 2, size, most, own);
    }
  }

  private List<float[]> parts(
      List<float[]> planes, int first, Resize.Size size, int most, boolean own)
      throws TooLargeException {
    List<float[]> latents = new ArrayList<>(encode(planes.subList(0, first), size, most, own));
    latents.addAll(encode(planes.subList(first, planes.size()), size, most, own));
    return latents;
  }

  private int latentArea(Resize.Size size) {
    return size.width() / codec.factor() * (size.height() / codec.factor());
  }

  private static boolean outOfMemory(RuntimeException e) {
    String message = String.valueOf(e.getMessage());
    return message.contains("out of memory") || message.contains("can't allocate memory");
  }
}
