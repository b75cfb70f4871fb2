package io.nit.exporter.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.core.bundle.PackPlan;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class BuildOptionsTest {
  private static BuildOptions options(List<Integer> buckets) {
    return new BuildOptions(
        0, buckets, BuildOptions.MAX_IMAGES, BuildOptions.WORKSPACE, 3, Optional.empty());
  }

  @Test
  void aProfileHoldsNoMoreImagesThanTokens() {
    BuildOptions options = options(List.of(64, 512, 16384));
    assertEquals(64, options.images(64));
    assertEquals(512, options.images(512));
    assertEquals(BuildOptions.MAX_IMAGES, options.images(16384));
  }

  @Test
  void profilesAreTunedForImagesOf256Tokens() {
    BuildOptions options = options(List.of(64, 512, 16384));
    assertEquals(1, options.typicalImages(64));
    assertEquals(2, options.typicalImages(512));
    assertEquals(64, options.typicalImages(16384));
  }

  @Test
  void smallBucketsStandInAPlanOfTheirOwnWhereThereIsOne() {
    BuildOptions one = options(List.of(512, 2048, 4096));
    assertEquals(List.of(PackPlan.MAIN), one.packPlans());
    BuildOptions two = one.withSmallPlan(true);
    assertEquals(List.of(PackPlan.MAIN, PackPlan.SMALL), two.packPlans());
    assertEquals(PackPlan.SMALL, two.plan(512));
    assertEquals(PackPlan.MAIN, two.plan(2048));
    assertEquals(PackPlan.MAIN, two.plan(4096));
    assertEquals(
        List.of(PackPlan.SMALL), options(List.of(64, 512)).withSmallPlan(true).packPlans());
    assertEquals(List.of(PackPlan.MAIN), options(List.of(4096)).withSmallPlan(true).packPlans());
    assertEquals(one, two.withSmallPlan(false));
  }

  @Test
  void bucketsRise() {
    for (List<Integer> wrong :
        List.of(List.<Integer>of(), List.of(0), List.of(8, 8), List.of(9, 8))) {
      assertThrows(IllegalArgumentException.class, () -> options(wrong));
    }
  }
}
