package io.nit.trainer.dist;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/**
 * Sums a flat gradient over all ranks while the backward is still at work: ranges that are ready
 * are joined into buckets, and a bucket's sum begins when it is full. All ranks announce the same
 * ranges in the same order, as they run the same backward.
 *
 * <p>A step is {@link #ready} for every range, each element once, and {@link #finish}.
 */
public final class BucketedAllReduce implements GradientReady {
  /** Elements of a bucket: large enough for a link's full speed, small enough to begin early. */
  public static final long BUCKET_ELEMENTS = 32L << 20;

  private final Tensor gradient;
  private final Collectives collectives;
  private final long bucketElements;
  private final TreeMap<Long, Long> bucket = new TreeMap<>(); // from -> to, apart from each other
  private final TreeMap<Long, Long> announced = new TreeMap<>(); // likewise, of the whole step
  private long inBucket;

  /**
   * Sums of one gradient.
   *
   * @param gradient [elements], contiguous float32; stays the caller's
   * @param collectives whose device the gradient is on
   * @param bucketElements elements of a bucket, 1 or more; a range is never cut
   */
  public BucketedAllReduce(Tensor gradient, Collectives collectives, long bucketElements) {
    if (bucketElements < 1) {
      throw new IllegalArgumentException(
          "bucket: expected 1 element or more, found " + bucketElements);
    }
    this.gradient = gradient;
    this.collectives = collectives;
    this.bucketElements = bucketElements;
  }

  /**
   * Takes up a range that the current stream has finished, or will have by what is on it now.
   *
   * @throws IllegalArgumentException if it is not within the gradient or was announced before
   * @throws UncheckedIOException if a rank is gone
   */
  @Override
  public void ready(long fromElement, long toElement) {
    if (fromElement < 0 || fromElement > toElement || toElement > gradient.numel()) {
      throw new IllegalArgumentException(
          "gradient: expected a range within 0.."
              + gradient.numel()
              + ", found "
              + fromElement
              + ".."
              + toElement);
    }
    if (fromElement == toElement) {
      return;
    }
    add(announced, fromElement, toElement);
    add(bucket, fromElement, toElement);
    inBucket += toElement - fromElement;
    if (inBucket >= bucketElements) {
      try {
        start();
      } catch (IOException e) {
        throw new UncheckedIOException(e);
      }
    }
  }

  /** Adds a range, joined with its neighbours. */
  private static void add(TreeMap<Long, Long> ranges, long from, long to) {
    Map.Entry<Long, Long> below = ranges.floorEntry(from);
    Map.Entry<Long, Long> above = ranges.ceilingEntry(from);
    if (below != null && below.getValue() > from || above != null && above.getKey() < to) {
      throw new IllegalArgumentException(
          "gradient: expected every element once, found " + from + ".." + to + " again");
    }
    long first = from;
    long last = to;
    if (below != null && below.getValue() == from) {
      first = below.getKey();
    }
    if (above != null && above.getKey() == to) {
      last = above.getValue();
      ranges.remove(above.getKey());
    }
    ranges.put(first, last);
  }

  private void start() throws IOException {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      List<Tensor> parts = new ArrayList<>();
      bucket.forEach((from, to) -> parts.add(gradient.narrow(0, from, to - from)));
      bucket.clear();
      inBucket = 0;
      collectives.startSum(parts);
    }
  }

  /**
   * Begins the sums of all that is left, announced or not; what follows on the current stream sees
   * the whole sum. The next step may begin.
   */
  public void finish() throws IOException {
    long at = 0;
    for (Map.Entry<Long, Long> range : announced.entrySet()) {
      if (at < range.getKey()) {
        add(bucket, at, range.getKey());
      }
      at = range.getValue();
    }
    if (at < gradient.numel()) {
      add(bucket, at, gradient.numel());
    }
    announced.clear();
    if (!bucket.isEmpty()) {
      start();
    }
    collectives.awaitSums();
  }
}
