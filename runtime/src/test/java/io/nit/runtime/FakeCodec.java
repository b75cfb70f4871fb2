package io.nit.runtime;

import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.LatentSize;
import io.nit.core.codec.SpaceToDepthCodec;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Semaphore;

/**
 * Space-to-depth of factor 2 as if it were a learned codec. Keeps a record of the batches, and can
 * be made to wait, to fail, or to say that it retried or tiled. Closing it ends a wait.
 */
final class FakeCodec implements LatentCodec {
  private static final SpaceToDepthCodec PLAIN = new SpaceToDepthCodec(2);

  /** Such as {@code 3 of 2x4}, width first. */
  final List<String> runs = new CopyOnWriteArrayList<>();

  /** The sizes that were to be made ready; null before. */
  volatile List<LatentSize> warmed;

  volatile int limit = 1;
  volatile Semaphore permits;
  volatile Throwable failure;
  volatile int failing;
  volatile boolean retried;
  volatile int tiles = 1;
  volatile boolean closed;
  private volatile float[] blamed;

  @Override
  public CodecSpec spec() {
    return PLAIN;
  }

  @Override
  public float[] encode(float[] rgb, int height, int width) {
    return PLAIN.encode(rgb, height, width);
  }

  @Override
  public float[] decode(float[] latent, int latentH, int latentW) {
    throw new AssertionError("the pipeline decodes in batches");
  }

  @Override
  public int decodeBatchLimit(int latentH, int latentW) {
    return limit;
  }

  @Override
  public List<Decoded> decodeBatch(List<float[]> latents, int latentH, int latentW) {
    runs.add(latents.size() + " of " + latentW + "x" + latentH);
    if (permits != null) {
      permits.acquireUninterruptibly();
    }
    if (closed) {
      throw new IllegalStateException("FakeCodec: used after close");
    }
    if (failure != null && latents.size() > failing) {
      blamed = latents.get(failing);
    }
    for (float[] latent : latents) {
      if (failure != null && Arrays.equals(latent, blamed)) {
        throw failure instanceof Error error ? rethrow(error) : (RuntimeException) failure;
      }
    }
    List<Decoded> pictures = new ArrayList<>();
    for (float[] latent : latents) {
      pictures.add(new Decoded(PLAIN.decode(latent, latentH, latentW), retried, tiles));
    }
    return pictures;
  }

  @Override
  public int warmUp(List<LatentSize> sizes) {
    warmed = List.copyOf(sizes);
    if (failure != null) {
      throw (RuntimeException) failure;
    }
    return sizes.size();
  }

  private static RuntimeException rethrow(Error error) {
    throw error;
  }

  /** Waits until so many batches have begun. */
  void awaitRuns(int count) throws InterruptedException {
    while (runs.size() < count) {
      Thread.sleep(1);
    }
  }

  @Override
  public void close() {
    closed = true;
    if (permits != null) {
      permits.release(1000);
    }
  }
}
