package io.nit.core.packing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.flow.Philox;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class LpfhpTest {
  @Test
  void randomHistogramsArePackedOnceAndWithinTheMaxima() {
    for (int round = 0; round < 500; round++) {
      Philox random = new Philox(round, 0);
      int maxTokens = 1 + random.below(0, 600);
      int maxImages = random.below(1, 3) == 0 ? 1 + random.below(2, 8) : 0;
      int kinds = 1 + random.below(3, 40);
      int[] tokens = new int[random.below(4, 400)];
      for (int i = 0; i < tokens.length; i++) {
        int kind = random.below(100 + i, kinds);
        tokens[i] = 1 + random.below(10_000 + kind, maxTokens);
      }
      List<int[]> packs = Lpfhp.pack(tokens, maxTokens, maxImages);
      int[] seen = new int[tokens.length];
      for (int[] pack : packs) {
        int sum = 0;
        for (int image : pack) {
          seen[image]++;
          sum += tokens[image];
        }
        assertTrue(pack.length > 0, "no pack is empty");
        assertTrue(sum <= maxTokens, "round " + round + ": " + sum + " > " + maxTokens);
        assertTrue(maxImages == 0 || pack.length <= maxImages);
      }
      assertTrue(Arrays.stream(seen).allMatch(n -> n == 1), "round " + round);
    }
  }

  @ParameterizedTest
  @ValueSource(longs = {1, 2, 3})
  void packsOfImageNetLikeSizesAreAtLeast99PercentFull(long seed) {
    int[] tokens = imageNetLike(100_000, seed);
    List<int[]> packs = Lpfhp.pack(tokens, 16_384, 0);
    double efficiency = Lpfhp.efficiency(packs, tokens, 16_384);
    assertTrue(efficiency >= 0.99, "efficiency " + efficiency);
  }

  /** Native sizes as ImageNet's photographs have them, in tokens of 32 pixels. */
  private static int[] imageNetLike(int count, long seed) {
    Philox random = new Philox(seed, 0);
    int[] tokens = new int[count];
    for (int i = 0; i < count; i++) {
      double kind = random.uniform(4L * i);
      int w;
      int h;
      if (kind < 0.48) {
        w = 500;
        h = kind < 0.3 ? 375 : 333;
      } else if (kind < 0.6) {
        w = kind < 0.56 ? 375 : 333;
        h = 500;
      } else { // a long side of 100 to 2,500 pixels, most about 500, of any aspect up to 2:1
        double spread = random.uniform(4L * i + 1) + random.uniform(4L * i + 2);
        int side = (int) (100 * Math.pow(25, spread / 2));
        int other = (int) (side * (0.5 + 0.5 * random.uniform(4L * i + 3)));
        w = kind < 0.8 ? side : other;
        h = kind < 0.8 ? other : side;
      }
      tokens[i] = Math.max(1, w / 32) * Math.max(1, h / 32);
    }
    return tokens;
  }

  @Test
  void equalInputsGiveEqualPacks() {
    int[] tokens = imageNetLike(5000, 9);
    List<int[]> first = Lpfhp.pack(tokens, 16_384, 64);
    List<int[]> second = Lpfhp.pack(tokens.clone(), 16_384, 64);
    assertEquals(first.size(), second.size());
    for (int p = 0; p < first.size(); p++) {
      assertArrayEquals(first.get(p), second.get(p));
    }
  }

  @Test
  void imagesOfOneLengthAreHandedOutInIndexOrder() {
    List<int[]> packs = Lpfhp.pack(new int[] {4, 4, 4, 4, 4}, 8, 0);
    assertEquals("[0, 1]", Arrays.toString(packs.get(0)));
    assertEquals(3, packs.size());
    assertArrayEquals(
        new int[] {0, 1, 2, 3, 4}, packs.stream().flatMapToInt(Arrays::stream).toArray());
  }

  @Test
  void theRoomThatFitsBestIsFilledFirst() {
    // 7 leaves 3, 6 leaves 4: the 3 belongs to the 7, so that both 2s fit beside the 6.
    int[] tokens = {7, 6, 3, 2, 2};
    List<int[]> packs = Lpfhp.pack(tokens, 10, 0);
    assertEquals(2, packs.size());
    assertEquals(1, Lpfhp.efficiency(packs, tokens, 10));
  }

  @Test
  void nothingPacksToNothing() {
    assertTrue(Lpfhp.pack(new int[0], 10, 0).isEmpty());
    assertEquals(1, Lpfhp.efficiency(List.of(), new int[0], 10));
  }

  @Test
  void imagesThatFitNoPackAreNamed() {
    assertMessage("image 1: expected 1..10 tokens (max), found 11", new int[] {3, 11}, 10, 0);
    assertMessage("image 0: expected 1..10 tokens (max), found 0", new int[] {0}, 10, 0);
    assertMessage("expected maxTokens of 1 or more", new int[] {1}, 0, 0);
    assertMessage("expected maxTokens of 1 or more", new int[] {1}, 5, -1);
  }

  private static void assertMessage(String start, int[] tokens, int maxTokens, int maxImages) {
    String message =
        assertThrows(IllegalArgumentException.class, () -> Lpfhp.pack(tokens, maxTokens, maxImages))
            .getMessage();
    assertTrue(message.startsWith(start), message);
  }
}
