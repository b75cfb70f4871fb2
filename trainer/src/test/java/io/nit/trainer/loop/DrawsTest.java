package io.nit.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Arrays;
import org.junit.jupiter.api.Test;

class DrawsTest {
  private static final Draws DRAWS = new Draws(11);

  private static long[] dropped(Draws draws, long place, double chance) {
    long[] labels = new long[10_000];
    Arrays.fill(labels, 4);
    long[] kept = draws.dropLabels(place, labels, chance, 1000);
    assertTrue(Arrays.stream(labels).allMatch(label -> label == 4), "the data set's stay");
    return kept;
  }

  @Test
  void droppedLabelsBecomeTheNullClassAtTheGivenChance() {
    long[] kept = dropped(DRAWS, 3, 0.1);
    long nulls = Arrays.stream(kept).filter(label -> label == 1000).count();
    assertEquals(1000, nulls, 150, "five standard deviations");
    assertEquals(kept.length - nulls, Arrays.stream(kept).filter(label -> label == 4).count());
    assertTrue(Arrays.stream(dropped(DRAWS, 3, 0)).allMatch(label -> label == 4));
  }

  @Test
  void aPlacesDrawsDependOnSeedAndPlaceAlone() {
    Draws same = new Draws(11);
    Draws other = new Draws(12);
    assertArrayEquals(dropped(DRAWS, 5, 0.5), dropped(same, 5, 0.5));
    assertFalse(Arrays.equals(dropped(DRAWS, 5, 0.5), dropped(DRAWS, 6, 0.5)));
    assertFalse(Arrays.equals(dropped(DRAWS, 5, 0.5), dropped(other, 5, 0.5)));
    assertArrayEquals(DRAWS.noise(5, 64), same.noise(5, 64));
    assertFalse(Arrays.equals(DRAWS.noise(5, 64), DRAWS.noise(6, 64)));
    assertArrayEquals(DRAWS.times(5, 64, 0, 1), same.times(5, 64, 0, 1));
    assertFalse(Arrays.equals(DRAWS.times(5, 64, 0, 1), other.times(5, 64, 0, 1)));
  }

  @Test
  void timesFollowTheLogisticNormal() {
    float[] times = DRAWS.times(0, 10_000, -0.5, 1.5);
    double mean = 0;
    double square = 0;
    for (float t : times) {
      double logit = Math.log(t / (1 - t));
      mean += logit / times.length;
      square += logit * logit / times.length;
    }
    assertEquals(-0.5, mean, 0.075, "five standard errors");
    assertEquals(1.5, Math.sqrt(square - mean * mean), 0.055);
  }
}
