package io.nit.trainer.data;

import io.nit.core.flow.Philox;

/**
 * Which pack a rank trains on at which place of its run: a seeded permutation of all packs for
 * every epoch, one after the other without end, dealt out to the ranks in turn. Place {@code i} of
 * rank r is place {@code i·worldSize + r} of the endless row, so every pack comes once an epoch
 * over all ranks together, and a run that resumes at place k goes on with what it would have had.
 */
public final class PackOrder {
  private final int packs;
  private final long seed;
  private final int rank;
  private final int worldSize;
  private long epoch = -1;
  private int[] permutation;

  /**
   * An order.
   *
   * @param packs packs of the data set, 1 or more
   * @param seed any 64 bits; the same on every rank
   * @param rank in {@code 0..worldSize-1}
   * @param worldSize processes that train together, 1 or more
   */
  public PackOrder(int packs, long seed, int rank, int worldSize) {
    if (packs < 1) {
      throw new IllegalArgumentException("packs: expected 1 or more, found " + packs);
    }
    if (worldSize < 1 || rank < 0 || rank >= worldSize) {
      throw new IllegalArgumentException(
          "rank: expected 0.." + (worldSize - 1) + " (world size - 1), found " + rank);
    }
    this.packs = packs;
    this.seed = seed;
    this.rank = rank;
    this.worldSize = worldSize;
  }

  /** The pack at a place of this rank's run; {@code index} counts from 0. Safe for threads. */
  public synchronized int pack(long index) {
    if (index < 0) {
      throw new IllegalArgumentException("pack order: expected a place of 0 or more");
    }
    long place = Math.addExact(Math.multiplyExact(index, (long) worldSize), rank);
    if (place / packs != epoch) {
      epoch = place / packs;
      permutation = permutation(epoch);
    }
    return permutation[(int) (place % packs)];
  }

  /** Fisher–Yates by the stream of the epoch's own number. */
  private int[] permutation(long epoch) {
    Philox random = new Philox(seed, epoch);
    int[] order = new int[packs];
    for (int i = 0; i < packs; i++) {
      int j = random.below(i, i + 1);
      order[i] = order[j];
      order[j] = i;
    }
    return order;
  }
}
