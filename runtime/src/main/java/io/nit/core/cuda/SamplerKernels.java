package io.nit.core.cuda;

import java.io.IOException;

/**
 * The sampler's arithmetic in {@code libnit_plugins.so}, with the bits of {@link
 * io.nit.core.flow.Move}. As in {@link NitKernels}: device addresses, a launch on a stream, nothing
 * read back, nothing allocated. A step is {@link #gather}, the model, {@link #advance}.
 *
 * <p>Legend: B images. An image of the table is {@value #IMAGE_BYTES} bytes in native order:
 *
 * <pre>
 * long first     its first value in the pack, rising from 0
 * long second    its first value with the null class; -1: not guided
 * long from      its first value in state and velocity
 * long to        its first value there after the step
 * double t, dt, scale, spread   as in Move
 * int rule       Move.Rule's ordinal
 * int unused
 * </pre>
 */
public final class SamplerKernels {
  /** Bytes of an image of the table. */
  public static final int IMAGE_BYTES = 72;

  private SamplerKernels() {}

  /**
   * Loads the library that {@link NitKernels#load} finds.
   *
   * @throws IOException if there is none, it cannot be loaded, or it is of a version whose kernels
   *     are others
   */
  public static void load() throws IOException {
    PluginLibrary library = NitKernels.load().library();
    int found;
    try {
      found = imageBytes();
    } catch (UnsatisfiedLinkError e) {
      throw new IOException(library + ": expected the sampler's kernels, found none", e);
    }
    if (found != IMAGE_BYTES) {
      throw new IOException(
          library + ": expected images of " + IMAGE_BYTES + " bytes, found " + found);
    }
  }

  private static native int imageBytes();

  /**
   * The points at which velocities are wanted, in single precision; guided images' twice.
   *
   * @param images [B], {@value #IMAGE_BYTES} bytes each
   * @param state float64
   * @param velocity float64, of Heun's images that await their corrector
   * @param x float32, the model's input
   * @param elements values of all images, counted once
   * @param count B
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void gather(
      long images, long state, long velocity, long x, long elements, int count, long stream);

  /**
   * Guidance and the images' moves; states go to their new places, which must not overlap old ones.
   *
   * @param images [B], {@value #IMAGE_BYTES} bytes each
   * @param state float64
   * @param velocity float64
   * @param v float32, the model's output
   * @param noise float64, by place in the pack; 0 if no image has a spread
   * @param failed [B] int32: 1 is written where an image is not finite, else nothing; may be pinned
   *     memory of the host
   * @param elements values of all images, counted once
   * @param count B
   * @throws KernelException if a value is refused or CUDA fails
   */
  public static native void advance(
      long images,
      long state,
      long velocity,
      long v,
      long noise,
      long failed,
      long elements,
      int count,
      long stream);
}
