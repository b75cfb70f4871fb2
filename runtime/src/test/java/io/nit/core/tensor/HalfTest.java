package io.nit.core.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.flow.Philox;
import java.util.function.Function;
import org.junit.jupiter.api.Test;

class HalfTest {
  /** One of the two formats: its conversions, and its size. */
  private record Format(
      String name, int mantissaBits, Function<Short, Float> widen, Function<Float, Short> narrow) {
    int infinity() {
      return 0x7fff >>> mantissaBits << mantissaBits;
    }

    /** The value of a bit pattern below infinity, from the definition of a binary float. */
    double value(int bits) {
      int exponent = bits >>> mantissaBits;
      int mantissa = bits & (1 << mantissaBits) - 1;
      int bias = (1 << 14 - mantissaBits) - 1;
      int power = Math.max(exponent, 1) - bias - mantissaBits;
      return (mantissa + (exponent > 0 ? 1 << mantissaBits : 0)) * Math.pow(2, power);
    }
  }

  private static final Format FP16 = new Format("fp16", 10, Half::fp16ToFloat, Half::floatToFp16);
  private static final Format BF16 = new Format("bf16", 7, Half::bf16ToFloat, Half::floatToBf16);

  @Test
  void everyPatternRoundTrips() {
    for (Format format : new Format[] {FP16, BF16}) {
      for (int bits = 0; bits < 1 << 16; bits++) {
        float wide = format.widen.apply((short) bits);
        boolean nan = (bits & 0x7fff) > format.infinity();
        assertEquals(nan, Float.isNaN(wide), format.name);
        int quiet = nan ? bits | 1 << format.mantissaBits - 1 : bits;
        assertEquals(quiet, format.narrow.apply(wide) & 0xffff, format.name);
      }
    }
  }

  @Test
  void everyPatternHasTheValueOfItsDefinition() {
    for (Format format : new Format[] {FP16, BF16}) {
      for (int bits = 0; bits < format.infinity(); bits++) {
        assertEquals(format.value(bits), (double) format.widen.apply((short) bits), format.name);
        assertEquals(
            -format.value(bits), (double) format.widen.apply((short) (bits | 0x8000)), format.name);
      }
      assertEquals(Float.POSITIVE_INFINITY, format.widen.apply((short) format.infinity()));
    }
  }

  @Test
  void randomFloatsOfEveryMagnitudeRoundToNearestEven() {
    Philox random = new Philox(16, 0);
    int[] words = new int[4];
    for (int i = 0; i < 500_000; i++) {
      random.block(i, words);
      for (int word : words) {
        assertNearestEven(FP16, Float.intBitsToFloat(word));
        assertNearestEven(BF16, Float.intBitsToFloat(word));
        // Most floats are far outside the range of halves: draw some inside it.
        assertNearestEven(FP16, Math.scalb(word * 0x1p-31f, (word & 31) - 26));
      }
    }
  }

  @Test
  void halfwayPointsAndTheirNeighboursRoundToNearestEven() {
    for (Format format : new Format[] {FP16, BF16}) {
      for (int bits = 0; bits < format.infinity(); bits++) {
        float low = (float) format.value(bits);
        double high = format.value(bits + 1); // of the largest: what would follow
        float middle = (float) ((low + high) / 2);
        assertNearestEven(format, middle);
        assertNearestEven(format, -middle);
        assertNearestEven(format, Math.nextUp(middle));
        assertNearestEven(format, Math.nextDown(middle));
      }
    }
  }

  @Test
  void theOverflowBoundaryIsHalfwayToTheNextPower() {
    assertEquals(0x7bff, Half.floatToFp16(65504));
    assertEquals(0x7bff, Half.floatToFp16(Math.nextDown(65520f)));
    assertEquals(0x7c00, Half.floatToFp16(65520));
    assertEquals((short) 0xfc00, Half.floatToFp16(-65520));
    assertEquals(0x7c00, Half.floatToFp16(Float.POSITIVE_INFINITY));
    assertEquals(0x7f80, Half.floatToBf16(Float.MAX_VALUE));
    assertEquals(0x7f7f, Half.floatToBf16(Float.intBitsToFloat(0x7f7f7fff)));
    assertEquals(0x7f80, Half.floatToBf16(Float.intBitsToFloat(0x7f7f8000)));
  }

  /** Compares with a search among all values of the format, in exact double arithmetic. */
  private static void assertNearestEven(Format format, float value) {
    if (Float.isNaN(value)) {
      assertTrue(Float.isNaN(format.widen.apply(format.narrow.apply(value))));
      return;
    }
    double magnitude = Math.abs((double) value);
    int low = 0;
    int high = format.infinity();
    while (high - low > 1) { // largest pattern whose value is not above the magnitude
      int middle = (low + high) / 2;
      if (format.value(middle) <= magnitude) {
        low = middle;
      } else {
        high = middle;
      }
    }
    double below = magnitude - format.value(low);
    double above = format.value(low + 1) - magnitude;
    int nearest = below < above || below == above && low % 2 == 0 ? low : low + 1;
    if (Double.isInfinite(magnitude)) {
      nearest = format.infinity();
    }
    int sign = Float.floatToRawIntBits(value) >>> 16 & 0x8000;
    if ((sign | nearest) != (format.narrow.apply(value) & 0xffff)) {
      assertEquals(
          Integer.toHexString(sign | nearest),
          Integer.toHexString(format.narrow.apply(value) & 0xffff),
          format.name + " of " + value);
    }
  }
}
