package io.nit.core.packing;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.function.Executable;

class PackLayoutTest {
  @Test
  void imagesLieOneAfterTheOther() {
    PackLayout layout = PackLayout.ofHwList(new long[] {2, 3, 1, 1, 4, 2});
    assertEquals(3, layout.images());
    assertEquals(15, layout.tokens());
    assertArrayEquals(new int[] {0, 6, 7, 15}, layout.cuSeqlens());
    assertArrayEquals(new int[] {2, 3, 1, 1, 4, 2}, layout.hwList());
    assertArrayEquals(new int[] {0, 0, 0, 0, 0, 0, 1, 2, 2, 2, 2, 2, 2, 2, 2}, layout.imageIndex());
    assertEquals(7, layout.start(2));
    assertEquals(8, layout.tokens(2));
    assertEquals(4, layout.h(2));
    assertEquals(2, layout.w(2));
  }

  @Test
  void itCannotBeChangedFromOutside() {
    int[] h = {2};
    PackLayout layout = PackLayout.of(h, new int[] {3});
    h[0] = 9;
    layout.cuSeqlens()[1] = 9;
    layout.hwList()[0] = 9;
    assertEquals(PackLayout.of(new int[] {2}, new int[] {3}), layout);
    assertEquals(6, layout.tokens());
  }

  @Test
  void equalSizesAreEqualLayouts() {
    PackLayout layout = PackLayout.ofHwList(new long[] {2, 3});
    assertEquals(layout.hashCode(), PackLayout.ofHwList(new long[] {2, 3}).hashCode());
    assertNotEquals(layout, PackLayout.ofHwList(new long[] {3, 2}));
  }

  @Test
  void wrongSizesAreRefused() {
    assertMessage("1 image or more, found 0 and 0", () -> PackLayout.ofHwList(new long[0]));
    assertMessage("hw_list: expected [B, 2]", () -> PackLayout.ofHwList(new long[3]));
    assertMessage("found 1 and 2", () -> PackLayout.of(new int[1], new int[2]));
    assertMessage("hw_list[1]: ", () -> PackLayout.ofHwList(new long[] {1, 1, 0, 2}));
    assertMessage("hw_list[0]: ", () -> PackLayout.ofHwList(new long[] {-5, 2}));
    assertMessage("hw_list[0]: more than", () -> PackLayout.ofHwList(new long[] {65536, 65536}));
    assertMessage("hw_list[0]: more than", () -> PackLayout.ofHwList(new long[] {1L << 40, 2}));
    assertMessage(
        "hw_list[1]: more than",
        () -> PackLayout.ofHwList(new long[] {1, Integer.MAX_VALUE, 1, Integer.MAX_VALUE}));
  }

  private static void assertMessage(String part, Executable call) {
    String message = assertThrows(IllegalArgumentException.class, call).getMessage();
    assertTrue(message.contains(part), message);
  }
}
