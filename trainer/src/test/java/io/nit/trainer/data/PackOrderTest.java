package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class PackOrderTest {
  @Test
  void everyPackComesOncePerEpochOverAllRanks() {
    for (int packs : new int[] {1, 2, 7, 64, 1000}) {
      for (int worldSize : new int[] {1, 2, 3, 8}) {
        int epochs = 3 * worldSize; // whole turns of every rank
        int[] seen = new int[packs];
        int[][] perEpoch = new int[epochs][packs];
        for (int rank = 0; rank < worldSize; rank++) {
          PackOrder order = new PackOrder(packs, 5, rank, worldSize);
          for (long i = 0; i < (long) epochs * packs / worldSize; i++) {
            int pack = order.pack(i);
            seen[pack]++;
            perEpoch[(int) ((i * worldSize + rank) / packs)][pack]++;
          }
        }
        for (int[] epoch : perEpoch) {
          assertTrue(
              Arrays.stream(epoch).allMatch(n -> n == 1),
              packs + " packs, " + worldSize + " ranks");
        }
        assertTrue(Arrays.stream(seen).allMatch(n -> n == epochs));
      }
    }
  }

  @Test
  void resumingAtAnyPlaceContinuesTheSameSequence() {
    PackOrder whole = new PackOrder(13, 99, 1, 2);
    int[] sequence = new int[40];
    for (int i = 0; i < sequence.length; i++) {
      sequence[i] = whole.pack(i);
    }
    for (int k = 0; k < sequence.length; k++) {
      PackOrder resumed = new PackOrder(13, 99, 1, 2);
      int[] rest = new int[sequence.length - k];
      for (int i = 0; i < rest.length; i++) {
        rest[i] = resumed.pack(k + i);
      }
      assertArrayEquals(Arrays.copyOfRange(sequence, k, sequence.length), rest);
    }
  }

  @Test
  void epochsAndSeedsDiffer() {
    PackOrder order = new PackOrder(50, 1, 0, 1);
    PackOrder other = new PackOrder(50, 2, 0, 1);
    int[] first = new int[50];
    int[] second = new int[50];
    int[] otherSeed = new int[50];
    for (int i = 0; i < 50; i++) {
      first[i] = order.pack(i);
      second[i] = order.pack(50 + i);
      otherSeed[i] = other.pack(i);
    }
    assertFalse(Arrays.equals(first, second));
    assertFalse(Arrays.equals(first, otherSeed));
  }

  @Test
  void everyPlaceOfThePermutationIsAboutEquallyLikely() {
    int[] firsts = new int[4];
    for (int seed = 0; seed < 4000; seed++) {
      firsts[new PackOrder(4, seed, 0, 1).pack(0)]++;
    }
    for (int count : firsts) {
      assertEquals(1000, count, 150); // 5.5 standard deviations
    }
  }

  @Test
  void aRankOutsideTheWorldIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> new PackOrder(3, 0, 2, 2));
    assertThrows(IllegalArgumentException.class, () -> new PackOrder(0, 0, 0, 1));
  }
}
