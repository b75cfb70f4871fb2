package io.nit.trainer.loop;

import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.data.TrainingPack;
import java.util.List;
import java.util.Optional;

/** Packs of smooth noise in several sizes, made from their number alone. */
final class SyntheticData implements TrainingData {
  static final int CHANNELS = 12;
  private final int packs;
  private final int patch;
  private boolean broken;

  SyntheticData(int packs, int patch) {
    this.packs = packs;
    this.patch = patch;
  }

  /** From now on every latent holds a NaN. */
  void breakIt() {
    broken = true;
  }

  static PackLayout layout(int pack) {
    return PackLayout.of(new int[] {3, 2 + pack % 3, 1}, new int[] {4, 5, 1});
  }

  @Override
  public int packs() {
    return packs;
  }

  @Override
  public int images() {
    return 3 * packs;
  }

  @Override
  public int channels() {
    return CHANNELS;
  }

  @Override
  public int featureDim() {
    return 0;
  }

  @Override
  public TrainingPack load(int pack, Philox choice) {
    PackLayout layout = layout(pack);
    double[] normals = new Philox(99, pack).normals(layout.tokens() * CHANNELS * patch * patch);
    float[] latents = new float[normals.length];
    float mirror = choice.uniform(0) < 0.5 ? -1 : 1;
    for (int i = 0; i < latents.length; i++) {
      latents[i] = broken ? Float.NaN : mirror * (float) normals[i];
    }
    int[] rows = {3 * pack, 3 * pack + 1, 3 * pack + 2};
    return new TrainingPack(layout, latents, new long[] {0, 1, pack % 3}, Optional.empty(), rows);
  }

  @Override
  public Optional<CodecSpec> codec() {
    return Optional.of(new SpaceToDepthCodec(2));
  }

  @Override
  public List<String> labels() {
    return List.of("red", "green", "blue");
  }

  @Override
  public int classes() {
    return 3;
  }

  @Override
  public void close() {}
}
