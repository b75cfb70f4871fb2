package io.nit.core.tensor;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ParityTest {
  @Test
  void theErrorIsRelativeToTheSizeOfWhatIsExpected() {
    Parity parity = Parity.of(new float[] {3, 4.5f}, new float[] {3, 4});
    assertEquals(0.1, parity.relative(), 1e-12);
    assertEquals(0.5, parity.maxAbs());
    assertEquals(new Parity(0, 0), Parity.of(new float[] {1, -2}, new float[] {1, -2}));
  }

  @Test
  void whereNothingIsExpectedTheDifferenceItselfCounts() {
    assertEquals(5, Parity.of(new float[] {3, 4}, new float[2]).relative());
  }

  @ParameterizedTest
  @ValueSource(floats = {Float.NaN, Float.POSITIVE_INFINITY, Float.NEGATIVE_INFINITY})
  void aValueThatIsNotFiniteIsInfinitelyFar(float value) {
    Parity far = new Parity(Double.POSITIVE_INFINITY, Double.POSITIVE_INFINITY);
    assertEquals(far, Parity.of(new float[] {1, value}, new float[] {1, 2}));
    assertEquals(far, Parity.of(new float[] {1, 2}, new float[] {1, value}));
    assertEquals(far, Parity.of(new float[] {value}, new float[] {value}));
  }

  @Test
  void picturesAreComparedInDecibels() {
    byte[] black = new byte[100];
    byte[] one = new byte[100];
    one[0] = 10; // a mean square of 1
    assertEquals(20 * Math.log10(255), Parity.psnr(one, black), 1e-9);
    assertEquals(Double.POSITIVE_INFINITY, Parity.psnr(black, black));
    assertEquals(0, Parity.psnr(new byte[] {(byte) 255}, new byte[1]), 1e-9);
  }

  @Test
  void latentsAreComparedOnTheirOwnSpread() {
    float[] expected = {-2, 2, 0, 0};
    assertEquals(40, Parity.psnr(new float[] {-2, 2.04f, -0.04f, 0.04f}, expected), 1.3);
    assertEquals(Double.POSITIVE_INFINITY, Parity.psnr(expected, expected));
  }

  @Test
  void resultsOfAnotherLengthAreNotCompared() {
    assertThrows(IllegalArgumentException.class, () -> Parity.of(new float[1], new float[2]));
    assertThrows(IllegalArgumentException.class, () -> Parity.psnr(new byte[1], new byte[2]));
  }
}
