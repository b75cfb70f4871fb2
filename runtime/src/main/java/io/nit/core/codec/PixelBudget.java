package io.nit.core.codec;

import java.util.ArrayList;
import java.util.List;

/**
 * How many pictures of one size are computed together.
 *
 * @param pixels of a batch at most, 0 or more; a larger picture is computed alone
 */
public record PixelBudget(long pixels) {
  private static final int MOST = 1024;

  /** Checks the pixels. */
  public PixelBudget {
    if (pixels < 0) {
      throw new IllegalArgumentException("pixels of a batch: expected 0 or more, found " + pixels);
    }
  }

  /** Pictures of a size in a batch, 1 or more. */
  public int together(int height, int width) {
    return (int) Math.max(1, Math.min(MOST, pixels / ((long) height * width)));
  }

  /**
   * Cuts what belongs to pictures of one size into batches.
   *
   * @param all a value of each picture
   * @return views of {@code all}, in its order
   */
  public <T> List<List<T>> split(List<T> all, int height, int width) {
    List<List<T>> batches = new ArrayList<>();
    int most = together(height, width);
    for (int from = 0; from < all.size(); from += most) {
      batches.add(all.subList(from, Math.min(from + most, all.size())));
    }
    return batches;
  }
}
