package io.nit.trainer.data;

import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.testing.GeneratedDcAe;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.CopyOnWriteArrayList;
import org.bytedeco.pytorch.global.torch;

/**
 * A learned codec's stand-in, whose latents depend on all pictures of a batch and on their order,
 * as a network's last bits do: another batch is another latent, and the tests see it.
 */
final class BatchCodec implements LatentCodec {
  /** Sizes of the batches that were encoded. */
  final List<Integer> batches = new CopyOnWriteArrayList<>();

  /** Names of the threads that encoded. */
  final Set<String> threads = ConcurrentHashMap.newKeySet();

  /** Sizes of pictures and whether cuDNN was on for them: {@code 16x8 without cuDNN}. */
  final Set<String> kernels = ConcurrentHashMap.newKeySet();

  private final CodecSpec spec;
  private final int mostAtOnce;
  private Runnable beforeBatch = () -> {};
  private boolean refusing;
  private long mostForOwnKernels = Long.MAX_VALUE;

  BatchCodec() {
    this('a', Integer.MAX_VALUE);
  }

  /**
   * Of other weights, on a device that is too small for more pictures at once.
   *
   * @param digit what the weights' hash is made of
   */
  BatchCodec(char digit, int mostAtOnce) {
    String hash = String.valueOf(digit).repeat(64);
    this.spec = new DcAeSpec(GeneratedDcAe.small(), Optional.of(hash));
    this.mostAtOnce = mostAtOnce;
  }

  /** Runs something before every batch. */
  BatchCodec before(Runnable action) {
    beforeBatch = action;
    return this;
  }

  /** Throws in place of giving back what is not finite. */
  BatchCodec refusing() {
    refusing = true;
    return this;
  }

  /** On a device whose memory is too small for all but cuDNN's kernels. */
  BatchCodec cudnnOnly() {
    return cudnnAbove(0);
  }

  /**
   * On a device where other kernels than cuDNN's run out of memory above so many pixels at once.
   */
  BatchCodec cudnnAbove(long pixels) {
    mostForOwnKernels = pixels;
    return this;
  }

  @Override
  public CodecSpec spec() {
    return spec;
  }

  @Override
  public float[] encode(float[] rgb, int height, int width) {
    return encodeBatch(List.of(rgb), height, width).get(0);
  }

  @Override
  public List<float[]> encodeBatch(List<float[]> rgb, int height, int width) {
    beforeBatch.run();
    boolean cudnn = torch.globalContext().userEnabledCuDNN();
    kernels.add(width + "x" + height + (cudnn ? " with" : " without") + " cuDNN");
    long pixels = (long) rgb.size() * width * height;
    if (rgb.size() > mostAtOnce || pixels > mostForOwnKernels && !cudnn) {
      throw new IllegalStateException("CUDA out of memory. Tried to allocate 3.00 GiB");
    }
    batches.add(rgb.size());
    threads.add(Thread.currentThread().getName());
    float company = 0;
    for (int i = 0; i < rgb.size(); i++) {
      company += rgb.get(i)[rgb.get(i).length / 2] / (1 + i);
    }
    int f = factor();
    int h = height / f;
    int w = width / f;
    List<float[]> latents = new ArrayList<>();
    for (float[] picture : rgb) {
      float[] latent = new float[channels() * h * w];
      for (int i = 0; i < latent.length; i++) {
        int y = i / w % h * f;
        int x = i % w * f + i / (h * w);
        latent[i] = picture[y * width + x] + 0.01f * company;
      }
      // A picture that begins with pure red stands for one that the network makes NaN of.
      if (picture[0] == 1 && picture[height * width] == -1 && picture[2 * height * width] == -1) {
        if (refusing) {
          throw new ArithmeticException("NaN in single precision too");
        }
        latent[latent.length - 1] = Float.NaN;
      }
      latents.add(latent);
    }
    return latents;
  }

  @Override
  public float[] decode(float[] latent, int latentH, int latentW) {
    throw new UnsupportedOperationException("pictures are only encoded here");
  }
}
