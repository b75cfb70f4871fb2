package io.nit.trainer.fused;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.packing.PackLayout;
import java.util.Arrays;
import java.util.Random;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;

class AttentionPartsTest {
  /** Groups of equal images, each {count, h, w}. */
  private static PackLayout layout(int[]... groups) {
    int[] h = Arrays.stream(groups).flatMapToInt(g -> repeat(g[0], g[1])).toArray();
    int[] w = Arrays.stream(groups).flatMapToInt(g -> repeat(g[0], g[2])).toArray();
    return PackLayout.of(h, w);
  }

  private static IntStream repeat(int count, int side) {
    return IntStream.generate(() -> side).limit(count);
  }

  @Test
  void imagesOfOneSizeStayTogether() {
    assertArrayEquals(new int[] {0, 256}, AttentionParts.of(layout(new int[] {256, 8, 8}), 16));
    assertArrayEquals(new int[] {0, 1}, AttentionParts.of(layout(new int[] {1, 128, 128}), 16));
  }

  @Test
  void fewLongImagesArePartedFromManyShortOnes() {
    PackLayout mixed =
        layout(
            new int[] {64, 8, 8},
            new int[] {16, 16, 16},
            new int[] {4, 32, 32},
            new int[] {6, 24, 14},
            new int[] {6, 10, 30});
    assertArrayEquals(new int[] {0, 80, 96}, AttentionParts.of(mixed, 16));
    assertArrayEquals(
        new int[] {0, 2, 202},
        AttentionParts.of(layout(new int[] {2, 64, 64}, new int[] {200, 6, 6}), 16));
  }

  @Test
  void partsCoverThePackInOrder() {
    Random random = new Random(1);
    for (int round = 0; round < 200; round++) {
      int images = 1 + random.nextInt(80);
      int most = 1 + random.nextInt(60);
      int[] h = random.ints(images, 1, 1 + most).toArray();
      int[] w = random.ints(images, 1, 1 + most).toArray();
      int[] bounds = AttentionParts.of(PackLayout.of(h, w), 1 + random.nextInt(24));
      assertTrue(bounds[0] == 0 && bounds[bounds.length - 1] == images);
      for (int i = 1; i < bounds.length; i++) {
        assertTrue(bounds[i] > bounds[i - 1]);
      }
    }
  }
}
