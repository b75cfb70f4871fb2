package io.nit.trainer.fused;

import io.nit.core.packing.PackLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;

/**
 * Where attention's backward cuts a pack. FlashAttention starts as many blocks for every image as
 * the longest one of its call needs, and those beyond an image's end leave at once, but one after
 * the other on every multiprocessor. A pack of a few long images and many short ones is nearly all
 * such blocks; two calls, one for the long ones, have few.
 */
final class AttentionParts {
  private static final int COLUMNS = 128; // tokens of a block
  // What a call costs by itself, in blocks with nothing to do: three launches and their ends, about
  // 20 µs, against 1.3 µs a block on each of 132 multiprocessors. Reckoned, not measured.
  private static final int CALL = 2048;
  private static final int MOST_RUNS = 64; // a pack without any order is not looked through

  private AttentionParts() {}

  /** First images of the parts, and at the end the number of images. */
  static int[] of(PackLayout layout, int heads) {
    List<Integer> starts = new ArrayList<>(); // of runs of images that need equally many blocks
    for (int i = 0; i < layout.images(); i++) {
      if (i == 0 || blocks(layout, i) != blocks(layout, i - 1)) {
        starts.add(i);
      }
    }
    int runs = starts.size();
    starts.add(layout.images());
    if (runs > MOST_RUNS) {
      return new int[] {0, layout.images()};
    }
    long[] least = new long[runs + 1]; // cost of the first runs
    int[] before = new int[runs + 1]; // where the last part of them begins
    for (int to = 1; to <= runs; to++) {
      least[to] = Long.MAX_VALUE;
      long most = 0;
      for (int from = to - 1; from >= 0; from--) {
        most = Math.max(most, blocks(layout, starts.get(from)));
        long cost = least[from] + CALL + most * heads * (starts.get(to) - starts.get(from));
        if (cost < least[to]) {
          least[to] = cost;
          before[to] = from;
        }
      }
    }
    List<Integer> bounds = new ArrayList<>();
    for (int at = runs; at > 0; at = before[at]) {
      bounds.add(starts.get(at));
    }
    bounds.add(0);
    Collections.reverse(bounds);
    return bounds.stream().mapToInt(Integer::intValue).toArray();
  }

  private static long blocks(PackLayout layout, int image) {
    return (layout.tokens(image) + COLUMNS - 1) / COLUMNS;
  }
}
