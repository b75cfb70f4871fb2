package io.nit.core.codec;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.List;
import org.junit.jupiter.api.Test;

class PixelBudgetTest {
  private static final List<String> FIVE = List.of("a", "b", "c", "d", "e");

  @Test
  void picturesAreTakenInOrderAsManyAsTheBudgetHolds() {
    assertEquals(
        List.of(List.of("a", "b"), List.of("c", "d"), List.of("e")),
        new PixelBudget(2 * 16 * 24).split(FIVE, 16, 24));
    assertEquals(3, new PixelBudget(4 * 16 * 24 - 1).together(16, 24));
    assertEquals(List.of(), new PixelBudget(1).split(List.of(), 16, 24));
  }

  @Test
  void aPictureBeyondTheBudgetIsTakenAlone() {
    assertEquals(5, new PixelBudget(0).split(FIVE, 16, 24).size());
    assertEquals(1, new PixelBudget(100).together(1 << 15, 1 << 17)); // more pixels than an int
  }

  @Test
  void aNegativeBudgetIsRefused() {
    assertThrows(IllegalArgumentException.class, () -> new PixelBudget(-1));
  }
}
