package io.nit.core.flow;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class PhiloxTest {
  /** The vectors that Random123 ships for philox4x32-10. */
  @Test
  void blocksEqualTheKnownAnswers() {
    assertBlock(0, 0, 0, 0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8);
    assertBlock(-1, -1, -1, 0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd);
    assertBlock(
        0x299f31d0_a4093822L,
        0x03707344_13198a2eL,
        0x85a308d3_243f6a88L,
        0xd16cfe09,
        0x94fdcceb,
        0x5001e420,
        0x24126ea1);
  }

  private static void assertBlock(long seed, long stream, long number, int... expected) {
    int[] found = new int[4];
    new Philox(seed, stream).block(number, found);
    assertArrayEquals(expected, found);
  }

  @Test
  void fewerNormalsAreAPrefixOfMore() {
    Philox philox = new Philox(7, 3);
    double[] many = philox.normals(1000);
    for (int count : new int[] {0, 1, 2, 9, 10, 999}) {
      assertArrayEquals(Arrays.copyOf(many, count), philox.normals(count));
    }
  }

  @Test
  void manyNormalsOfSeveralThreadsAreThoseOfTheirBlocks() {
    Philox philox = new Philox(-5, 1L << 33);
    double[] many = philox.normals(20_001); // the last block gives one value only
    int[] words = new int[4];
    for (int i = 0; i < many.length; i++) {
      philox.block(i >>> 1, words);
      double u = ((((long) words[0] << 32 | words[1] & 0xffffffffL) >>> 11) + 1) * 0x1p-53;
      double turn = (((long) words[2] << 32 | words[3] & 0xffffffffL) >>> 11) * 0x1p-53;
      double angle = 2 * Math.PI * turn;
      double direction = i % 2 == 0 ? StrictMath.cos(angle) : StrictMath.sin(angle);
      assertEquals(StrictMath.sqrt(-2 * StrictMath.log(u)) * direction, many[i], "value " + i);
    }
    assertArrayEquals(Arrays.copyOf(many, 2000), philox.normals(2000));
  }

  @Test
  void normalsHaveTheMomentsOfAStandardNormal() {
    double[] x = new Philox(12345, 0).normals(1_000_000);
    double[] moment = new double[5];
    double neighbours = 0;
    int within = 0;
    for (int i = 0; i < x.length; i++) {
      for (int k = 1; k <= 4; k++) {
        moment[k] += Math.pow(x[i], k) / x.length;
      }
      neighbours += i == 0 ? 0 : x[i] * x[i - 1] / x.length;
      within += Math.abs(x[i]) < 1 ? 1 : 0;
    }
    // Five standard deviations of each estimate.
    assertEquals(0, moment[1], 5e-3);
    assertEquals(1, moment[2], 5 * Math.sqrt(2e-6));
    assertEquals(0, moment[3], 5 * Math.sqrt(15e-6));
    assertEquals(3, moment[4], 5 * Math.sqrt(96e-6));
    assertEquals(0, neighbours, 5e-3);
    assertEquals(0.6826895, within / 1e6, 5 * Math.sqrt(0.2166e-6));
  }

  @Test
  void uniformsFillTheUnitIntervalEvenly() {
    Philox philox = new Philox(1, 2);
    int[] bins = new int[10];
    for (int i = 0; i < 100_000; i++) {
      double u = philox.uniform(i);
      assertTrue(u >= 0 && u < 1);
      bins[(int) (u * 10)]++;
    }
    for (int bin : bins) {
      assertEquals(10_000, bin, 5 * Math.sqrt(9000));
    }
  }

  @Test
  void belowStaysBelowItsBound() {
    Philox philox = new Philox(1, 2);
    int[] seen = new int[3];
    for (int i = 0; i < 3000; i++) {
      seen[philox.below(i, 3)]++;
    }
    for (int count : seen) {
      assertEquals(1000, count, 5 * Math.sqrt(3000 * 2 / 9.0));
    }
  }

  @Test
  void seedsAndStreamsGiveDifferentValues() {
    double[] base = new Philox(1, 1).normals(4);
    assertFalse(Arrays.equals(base, new Philox(2, 1).normals(4)));
    assertFalse(Arrays.equals(base, new Philox(1, 2).normals(4)));
    assertFalse(Arrays.equals(base, new Philox(1L << 40 | 1, 1).normals(4)));
    assertFalse(Arrays.equals(base, new Philox(1, 1L << 40 | 1).normals(4)));
  }

  @Test
  void startingNoiseAndEveryStepsNoiseAreDifferentStreams() {
    double[] start = Seeds.start(5, 64);
    double[] first = Seeds.sde(5, 64).step(0);
    double[] second = Seeds.sde(5, 64).step(1);
    assertFalse(Arrays.equals(start, first));
    assertFalse(Arrays.equals(first, second));
    assertArrayEquals(first, Seeds.sde(5, 64).step(0));
    assertArrayEquals(start, Seeds.start(5, 64));
  }
}
