package io.nit.core.packing;

import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Deque;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;

/**
 * Longest-pack-first histogram packing (Krell et al., arXiv 2107.02027), which the authors cut
 * their training packs with. It works on the histogram of lengths, not on the images: packs of the
 * same lengths are one <em>strategy</em> with a count, so 1.28 million images take about as long as
 * a thousand.
 *
 * <p>From the longest length down, every length goes into the open strategy whose room fits best,
 * as often as it fits; a strategy is split where only some of its packs are needed. What fits
 * nowhere opens a new strategy. Every image is packed exactly once and no pack exceeds its maximum.
 */
public final class Lpfhp {
  private Lpfhp() {}

  private record Strategy(long count, int[] lengths) {}

  /**
   * Packs images.
   *
   * @param tokens token count of every image
   * @param maxTokens no pack holds more tokens
   * @param maxImages no pack holds more images; 0 for no such bound
   * @return the packs, each a list of indices into {@code tokens}; images of equal length are
   *     handed out in index order
   * @throws IllegalArgumentException if an image has no tokens or more than {@code maxTokens};
   *     names the first one
   */
  public static List<int[]> pack(int[] tokens, int maxTokens, int maxImages) {
    if (maxTokens < 1 || maxImages < 0) {
      throw new IllegalArgumentException(
          "expected maxTokens of 1 or more and maxImages of 0 or more, found "
              + maxTokens
              + " and "
              + maxImages);
    }
    TreeMap<Integer, Long> histogram = new TreeMap<>();
    for (int i = 0; i < tokens.length; i++) {
      if (tokens[i] < 1 || tokens[i] > maxTokens) {
        throw new IllegalArgumentException(
            "image " + i + ": expected 1.." + maxTokens + " tokens (max), found " + tokens[i]);
      }
      histogram.merge(tokens[i], 1L, Long::sum);
    }
    Map<Integer, int[]> byLength = indicesByLength(tokens, histogram);
    Map<Integer, Integer> next = new HashMap<>();
    List<int[]> packs = new ArrayList<>();
    for (Strategy strategy : strategies(histogram, maxTokens, maxImages)) {
      for (long n = 0; n < strategy.count; n++) {
        int[] pack = new int[strategy.lengths.length];
        for (int i = 0; i < pack.length; i++) {
          int length = strategy.lengths[i];
          pack[i] = byLength.get(length)[next.merge(length, 1, Integer::sum) - 1];
        }
        packs.add(pack);
      }
    }
    return packs;
  }

  /** Share of real tokens in the room of all packs, 0 to 1. */
  public static double efficiency(List<int[]> packs, int[] tokens, int maxTokens) {
    long real = 0;
    for (int[] pack : packs) {
      for (int image : pack) {
        real += tokens[image];
      }
    }
    return packs.isEmpty() ? 1 : (double) real / ((double) packs.size() * maxTokens);
  }

  private static List<Strategy> strategies(
      TreeMap<Integer, Long> histogram, int maxTokens, int maxImages) {
    int limit = maxImages == 0 ? Integer.MAX_VALUE : maxImages;
    TreeMap<Integer, Deque<Strategy>> open = new TreeMap<>(); // by room left
    List<Strategy> closed = new ArrayList<>();
    for (Map.Entry<Integer, Long> bin : histogram.descendingMap().entrySet()) {
      int length = bin.getKey();
      long left = bin.getValue();
      while (left > 0) {
        Map.Entry<Integer, Deque<Strategy>> best = open.ceilingEntry(length);
        Strategy base = new Strategy(Long.MAX_VALUE, new int[0]);
        int room = maxTokens;
        if (best != null) {
          room = best.getKey();
          base = best.getValue().removeLast();
          if (best.getValue().isEmpty()) {
            open.remove(room);
          }
        }
        int repeat = (int) Math.min(Math.min(room / length, limit - base.lengths.length), left);
        long count = Math.min(base.count, left / repeat);
        if (base.count > count && best != null) {
          open.computeIfAbsent(room, r -> new ArrayDeque<>())
              .addLast(new Strategy(base.count - count, base.lengths));
        }
        left -= count * repeat;
        int[] lengths = Arrays.copyOf(base.lengths, base.lengths.length + repeat);
        Arrays.fill(lengths, base.lengths.length, lengths.length, length);
        Strategy grown = new Strategy(count, lengths);
        int roomLeft = room - repeat * length;
        if (roomLeft == 0 || lengths.length == limit) {
          closed.add(grown);
        } else {
          open.computeIfAbsent(roomLeft, r -> new ArrayDeque<>()).addLast(grown);
        }
      }
    }
    open.values().forEach(closed::addAll);
    return closed;
  }

  private static Map<Integer, int[]> indicesByLength(
      int[] tokens, TreeMap<Integer, Long> histogram) {
    Map<Integer, int[]> byLength = new HashMap<>();
    histogram.forEach((length, count) -> byLength.put(length, new int[count.intValue()]));
    Map<Integer, Integer> filled = new HashMap<>();
    for (int i = 0; i < tokens.length; i++) {
      byLength.get(tokens[i])[filled.merge(tokens[i], 1, Integer::sum) - 1] = i;
    }
    return byLength;
  }
}
