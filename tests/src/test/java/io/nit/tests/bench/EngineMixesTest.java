package io.nit.tests.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import java.util.Random;
import org.junit.jupiter.api.Test;

class EngineMixesTest {
  @Test
  void packsAreOfFewAndManyImagesOfSmallAndLargeSidesWithinTheLimit() {
    Random random = new Random(1);
    int mostImages = 0;
    int mostSide = 0;
    for (int i = 0; i < 200; i++) {
      PackLayout layout = EngineMixes.random(random, 16_384);
      assertTrue(layout.tokens() >= 1 && layout.tokens() <= 16_384, layout.toString());
      mostImages = Math.max(mostImages, layout.images());
      for (int image = 0; image < layout.images(); image++) {
        mostSide = Math.max(mostSide, Math.max(layout.h(image), layout.w(image)));
      }
    }
    assertTrue(mostImages > 200 && mostImages <= 256, "at most " + mostImages + " images");
    assertEquals(64, mostSide, 4);
  }

  @Test
  void workIsWhatTheMultiplicationsOfAForwardAre() {
    NitConfig xl = NitConfig.preset("xl");
    double one = EngineMixes.work(xl, PackLayout.of(new int[] {32}, new int[] {32}));
    double blocks = 28.0 * 1152 * 1152 * (12 * 1024 + 6) + 28.0 * 2 * 1152 * 1024 * 1024;
    assertEquals(blocks, one, blocks * 1e-9);
    double two = EngineMixes.work(xl, PackLayout.of(new int[] {32, 32}, new int[] {32, 32}));
    assertEquals(2 * one, two, one * 1e-9);
  }
}
