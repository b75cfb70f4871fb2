package io.nit.trainer.dist;

import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.TreeMap;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/**
 * Sums a flat gradient over all ranks while the backward is still at work: ranges that are ready
 * are joined into buckets, and a bucket's sum begins when it is full. The last ones are smaller and
 * smaller, as nothing is left that their sums could hide behind. All ranks announce the same ranges
 * in the same order, as they run the same backward.
 *
 * <p>A step is {@link #ready} for every range, each element once, and {@link #finish}.
 */
public final class BucketedAllReduce implements GradientReady {
  /**
   * Elements of a bucket, 64 MiB: large enough for a link's full speed, else as small as can be.
   */
  public static final long BUCKET_ELEMENTS = 16L << 20;

  /**
   * Near the end a bucket begins before it is full, with at least such a part of what is to come.
   */
  private static final int LAST_PARTS = 4;

  private final Tensor gradient;
  private final Collectives collectives;
  private final long bucketElements;
  private final Optional<Partition> owners;
  private final TreeMap<Long, Long> bucket = new TreeMap<>(); // from -> to, apart from each other
  private final TreeMap<Long, Long> announced = new TreeMap<>(); // likewise, of the whole step
  private long inBucket;
  private long toCome;

  /**
   * Sums of one gradient that every rank gets whole.
   *
   * @param gradient [elements], contiguous float32; stays the caller's
   * @param collectives whose device the gradient is on
   * @param bucketElements elements of a bucket, 1 or more; a range is never cut
   */
  public BucketedAllReduce(Tensor gradient, Collectives collectives, long bucketElements) {
    this(gradient, collectives, bucketElements, Optional.empty());
  }

  /**
   * Sums of one gradient.
   *
   * @param owners whose part each rank needs, one for every rank; in the others' parts it may keep
   *     what it gave. Empty where every rank needs all
   */
  public BucketedAllReduce(
      Tensor gradient, Collectives collectives, long bucketElements, Optional<Partition> owners) {
    if (bucketElements < 1) {
      throw new IllegalArgumentException(
          "bucket: expected 1 element or more, found " + bucketElements);
    }
    this.gradient = gradient;
    this.collectives = collectives;
    this.bucketElements = bucketElements;
    this.owners = owners;
    toCome = gradient.numel();
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
    toCome -= toElement - fromElement;
    boolean last = toCome > 0 && toCome < bucketElements && inBucket >= toCome / LAST_PARTS;
    if (inBucket >= bucketElements || last) {
      try {
        start(List.of());
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

  private void start(List<Tensor> more) throws IOException {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      List<Tensor> all = new ArrayList<>(more);
      if (owners.isEmpty()) {
        all.addAll(inBucket(0, gradient.numel()));
      } else {
        Partition parts = owners.get();
        for (int owner = 0; owner < parts.parts(); owner++) {
          List<Tensor> owned = inBucket(parts.from(owner), parts.to(owner));
          if (!owned.isEmpty()) {
            collectives.startSum(owned, owner);
          }
        }
      }
      bucket.clear();
      inBucket = 0;
      if (!all.isEmpty()) {
        collectives.startSum(all);
      }
    }
  }

  /** What the bucket has of elements {@code [first, last)}. */
  private List<Tensor> inBucket(long first, long last) {
    List<Tensor> found = new ArrayList<>();
    bucket.forEach(
        (from, to) -> {
          long begin = Math.max(from, first);
          long end = Math.min(to, last);
          if (begin < end) {
            found.add(gradient.narrow(0, begin, end - begin));
          }
        });
    return found;
  }

  /**
   * Begins the sums of all that is left, announced or not, and of a few numbers beside it; what
   * follows on the current stream sees the sums. The next step may begin.
   *
   * @param more tensors of their own, likewise summed in place
   */
  public void finish(List<Tensor> more) throws IOException {
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
    toCome = gradient.numel();
    if (!bucket.isEmpty() || !more.isEmpty()) {
      start(more);
    }
    collectives.awaitSums();
  }

  /** The same with nothing beside the gradient. */
  public void finish() throws IOException {
    finish(List.of());
  }
}
