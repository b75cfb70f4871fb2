package io.nit.runtime.trt;

import io.nit.core.cuda.SamplerKernels;
import io.nit.core.flow.Move;
import io.nit.core.flow.Trajectory;
import io.nit.core.packing.PackLayout;
import io.nit.runtime.engine.StepInputs;
import java.nio.ByteBuffer;
import java.util.ArrayList;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Map;

/**
 * Where the states of the images under way lie: as the last pack's tokens do, in one half of a
 * memory of three times a pack's values. A step moves them to where its own pack has them in the
 * other half, so that images may come and go with no gaps to look after. Those that come wait in
 * the third part.
 */
final class LatentPlaces {
  /**
   * An image of a step, as {@link SamplerKernels} takes it; places are counted in values.
   *
   * @param move what the step does with it
   * @param first its first value in the pack
   * @param second that of its twin with the null class; -1 if it is not guided
   * @param from where its state lies
   * @param to where the step leaves it
   */
  record Placed(Trajectory image, Move move, int first, long second, long from, long to) {
    /** Appends it to a table, {@value SamplerKernels#IMAGE_BYTES} bytes. */
    void write(ByteBuffer table) {
      table
          .putLong(first)
          .putLong(second)
          .putLong(from)
          .putLong(to)
          .putDouble(move.t())
          .putDouble(move.dt())
          .putDouble(move.scale())
          .putDouble(move.spread())
          .putInt(move.rule().ordinal())
          .putInt(0);
    }
  }

  private final int capacity;
  private final int tokenSize;
  private final Map<Trajectory, Long> places = new IdentityHashMap<>();
  private int half; // where the next step's states go: 0 or capacity

  /**
   * No images yet.
   *
   * @param capacity values of the largest pack
   */
  LatentPlaces(int capacity, int tokenSize) {
    this.capacity = capacity;
    this.tokenSize = tokenSize;
  }

  /** Where those that come begin. */
  int arrivals() {
    return 2 * capacity;
  }

  /**
   * Finds the images of a step their places; nothing changes before {@link #moved}.
   *
   * @return the images, in the pack's order
   * @throws IllegalStateException if an image's values are neither here nor, at the start of a
   *     step, with the host
   * @throws IllegalArgumentException if an image is not of its tokens' size
   */
  List<Placed> place(StepInputs in) {
    PackLayout layout = in.layout();
    int[] seconds = in.seconds();
    List<Placed> placed = new ArrayList<>(seconds.length);
    int coming = arrivals();
    for (int i = 0; i < seconds.length; i++) {
      Trajectory image = in.images().get(i);
      Move move = image.next();
      Long from = places.get(image);
      if (image.elsewhere() != (from != null) || from == null && move.rule() == Move.Rule.CORRECT) {
        throw new IllegalStateException(
            "image "
                + i
                + ": expected its values with "
                + (from != null ? "this engine" : "the host, at the start of a step")
                + ", found them elsewhere");
      }
      int values = layout.tokens(i) * tokenSize;
      if (image.elements() != values) {
        throw new IllegalArgumentException(
            "image " + i + ": expected " + values + " values, found " + image.elements());
      }
      if (from == null) {
        from = (long) coming;
        coming += values;
      }
      int first = layout.start(i) * tokenSize;
      long second = seconds[i] < 0 ? -1 : (long) layout.start(seconds[i]) * tokenSize;
      placed.add(new Placed(image, move, first, second, from, half + first));
    }
    return placed;
  }

  /** Tells that a step moves its images; those it does not have are gone. */
  void moved(List<Placed> placed) {
    places.clear();
    for (Placed image : placed) {
      if (!image.move.last()) {
        places.put(image.image, image.to);
      }
    }
    half = capacity - half;
  }
}
