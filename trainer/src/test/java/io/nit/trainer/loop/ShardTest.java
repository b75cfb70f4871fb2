package io.nit.trainer.loop;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.packing.PackLayout;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

class ShardTest {
  private static final PackLayout LAYOUT =
      PackLayout.of(new int[] {9, 4, 3, 3, 2, 1}, new int[] {5, 5, 5, 4, 2, 1});

  private static Shard whole() {
    float[] latents = new float[LAYOUT.tokens() * 3];
    float[] features = new float[LAYOUT.tokens() * 2];
    for (int i = 0; i < latents.length; i++) {
      latents[i] = i;
    }
    for (int i = 0; i < features.length; i++) {
      features[i] = -i;
    }
    float[] noise = latents.clone();
    float[] times = {0.1f, 0.2f, 0.3f, 0.4f, 0.5f, 0.6f};
    return new Shard(
        LAYOUT, latents, noise, times, new long[] {5, 4, 3, 2, 1, 0}, Optional.of(features));
  }

  @ParameterizedTest
  @ValueSource(ints = {1, 2, 3, 4, 6, 9})
  void theShardsTogetherAreThePackInOrder(int parts) {
    Shard whole = whole();
    List<Shard> shards = whole.cut(parts);
    assertTrue(shards.size() <= parts);
    List<Float> latents = new ArrayList<>();
    List<Float> features = new ArrayList<>();
    List<Long> labels = new ArrayList<>();
    List<Integer> sizes = new ArrayList<>();
    for (Shard shard : shards) {
      assertArrayEquals(shard.latents(), shard.noise());
      assertEquals(shard.layout().images(), shard.times().length);
      for (float value : shard.latents()) {
        latents.add(value);
      }
      for (float value : shard.features().get()) {
        features.add(value);
      }
      Arrays.stream(shard.labels()).forEach(labels::add);
      Arrays.stream(shard.layout().hwList()).forEach(sizes::add);
    }
    assertEquals(LAYOUT.tokens() * 3, latents.size());
    for (int i = 0; i < latents.size(); i++) {
      assertEquals(i, latents.get(i));
    }
    assertEquals(-(LAYOUT.tokens() * 2 - 1), features.get(features.size() - 1));
    assertEquals(List.of(5L, 4L, 3L, 2L, 1L, 0L), labels);
    assertEquals(Arrays.stream(LAYOUT.hwList()).boxed().toList(), sizes);
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void noShardIsFarFromItsShareOfTheTokens(int parts) {
    PackLayout even = PackLayout.of(new int[] {4, 4, 4, 4, 4, 4}, new int[] {4, 4, 4, 4, 4, 4});
    Shard pack =
        new Shard(even, new float[96], new float[96], new float[6], new long[6], Optional.empty());
    List<Shard> shards = pack.cut(parts);
    assertEquals(parts, shards.size());
    shards.forEach(shard -> assertEquals(96 / parts, shard.layout().tokens()));
  }
}
