package io.nit.trainer.loop;

import io.nit.core.packing.PackLayout;
import io.nit.trainer.data.TrainingPack;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * A few neighbouring images of a step's pack, with their draws: what one worker computes a gradient
 * of. As images never see each other, a pack may be cut between any two.
 *
 * @param layout the shard's images
 * @param latents x₀, [tokens, C, p, p]
 * @param noise ε, likewise
 * @param times t, [images]
 * @param labels [images], the null class where a label was dropped
 * @param features z_target, [tokens, zDim], where the data set has them
 */
record Shard(
    PackLayout layout,
    float[] latents,
    float[] noise,
    float[] times,
    long[] labels,
    Optional<float[]> features) {

  /** The whole pack. */
  static Shard of(TrainingPack pack, float[] noise, float[] times, long[] labels) {
    return new Shard(pack.layout(), pack.latents(), noise, times, labels, pack.features());
  }

  /** This shard in at most {@code parts} of about equal tokens, in order. */
  List<Shard> cut(int parts) {
    int images = layout.images();
    if (parts == 1 || images == 1) {
      return List.of(this);
    }
    List<Shard> shards = new ArrayList<>();
    int from = 0;
    for (int part = 1; part <= parts && from < images; part++) {
      long until = (long) layout.tokens() * part / parts;
      int to = from + 1;
      while (to < images && layout.start(to) + layout.tokens(to) / 2 < until) {
        to++;
      }
      to = part == parts ? images : to;
      shards.add(images(from, to));
      from = to;
    }
    return shards;
  }

  private Shard images(int from, int to) {
    int[] h = new int[to - from];
    int[] w = new int[to - from];
    for (int i = from; i < to; i++) {
      h[i - from] = layout.h(i);
      w[i - from] = layout.w(i);
    }
    return new Shard(
        PackLayout.of(h, w),
        tokens(latents, from, to),
        tokens(noise, from, to),
        Arrays.copyOfRange(times, from, to),
        Arrays.copyOfRange(labels, from, to),
        features.map(z -> tokens(z, from, to)));
  }

  private float[] tokens(float[] values, int from, int to) {
    int width = values.length / layout.tokens();
    int end = layout.start(to - 1) + layout.tokens(to - 1);
    return Arrays.copyOfRange(values, layout.start(from) * width, end * width);
  }
}
