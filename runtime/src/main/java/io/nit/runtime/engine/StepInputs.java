package io.nit.runtime.engine;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.Trajectory;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.RopeTables;
import java.util.List;

/**
 * Inputs of one step of {@link ResidentSampling}: those of a forward but for x, and whose they are.
 *
 * @param layout B images, N tokens: all images, then those that are guided a second time
 * @param t [B], times in [0, 1]
 * @param y [B], labels; {@code numClasses} is the null class
 * @param rope tables of the same tokens
 * @param images the images, in the pack's order; none of them done
 */
public record StepInputs(
    PackLayout layout, float[] t, long[] y, RopeTables rope, List<Trajectory> images) {
  /** Checks that all sizes fit the layout. */
  public StepInputs {
    images = List.copyOf(images);
    long guided = images.stream().filter(Trajectory::guided).count();
    int expected = layout.images();
    if (t.length != expected || y.length != expected || images.size() + guided != expected) {
      throw new IllegalArgumentException(
          "expected t, y, and images with those that are guided counted twice, of "
              + expected
              + " places of the pack, found "
              + t.length
              + ", "
              + y.length
              + " and "
              + images.size()
              + " + "
              + guided);
    }
    if (rope.tokens() != layout.tokens()) {
      throw new IllegalArgumentException(
          "expected rope tables of " + layout.tokens() + " tokens, found " + rope.tokens());
    }
  }

  /**
   * Checks that the tables are of a model's heads.
   *
   * @throws IllegalArgumentException if they are not
   */
  public void requireHeadDim(NitConfig config) {
    ForwardInputs.requireHeadDim(rope, config);
  }

  /**
   * The place in the pack where each image stands with the null class; -1 for those that are not
   * guided; [images].
   */
  public int[] seconds() {
    int[] seconds = new int[images.size()];
    int next = seconds.length;
    for (int i = 0; i < seconds.length; i++) {
      seconds[i] = images.get(i).guided() ? next++ : -1;
    }
    return seconds;
  }
}
