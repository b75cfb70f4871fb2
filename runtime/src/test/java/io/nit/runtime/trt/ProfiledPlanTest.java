package io.nit.runtime.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertSame;

import io.nit.runtime.trt.ProfiledPlan.Bucket;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class ProfiledPlanTest {
  private static Bucket bucket(int profile, int tokens) {
    return new Bucket(null, profile, tokens, Math.min(tokens, 1024));
  }

  @Test
  void aPackRunsInTheSmallestBucketOfAllPlansThatHoldsIt() {
    Bucket large = bucket(0, 8192);
    Bucket largest = bucket(1, 16384);
    Bucket few = bucket(0, 128);
    Bucket small = bucket(1, 2048);
    List<Bucket> all = List.of(large, largest, few, small);
    assertSame(few, Bucket.holding(all, 1, 1).orElseThrow());
    assertSame(few, Bucket.holding(all, 128, 128).orElseThrow());
    assertSame(small, Bucket.holding(all, 129, 1).orElseThrow());
    assertSame(small, Bucket.holding(all, 2048, 1024).orElseThrow());
    assertSame(large, Bucket.holding(all, 2049, 1).orElseThrow());
    assertSame(largest, Bucket.holding(all, 16384, 1024).orElseThrow());
    assertEquals(Optional.empty(), Bucket.holding(all, 16385, 1));
    assertEquals(Optional.empty(), Bucket.holding(all, 2048, 1025));
    assertSame(large, Bucket.holding(List.of(large, largest), 1, 1).orElseThrow());
  }
}
