package io.nit.core.packing;

import java.util.Arrays;

/**
 * Which images a pack holds and where their tokens lie: images one after the other along the token
 * axis, each in row-major order. Immutable.
 *
 * <p>Legend: B images, N = Σ h·w tokens.
 */
public final class PackLayout {
  private final int[] h;
  private final int[] w;
  private final int[] cuSeqlens;

  private PackLayout(int[] h, int[] w) {
    this.h = h;
    this.w = w;
    this.cuSeqlens = new int[h.length + 1];
    for (int i = 0; i < h.length; i++) {
      if (h[i] < 1 || w[i] < 1) {
        throw new IllegalArgumentException(
            "hw_list[" + i + "]: expected sides of 1 token or more, found " + h[i] + "x" + w[i]);
      }
      try {
        cuSeqlens[i + 1] = Math.addExact(cuSeqlens[i], Math.multiplyExact(h[i], w[i]));
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException(
            "hw_list[" + i + "]: more than 2^31-1 tokens in a pack", e);
      }
    }
  }

  /**
   * A layout from heights and widths in tokens.
   *
   * @throws IllegalArgumentException if there is no image, a side is below 1, or the arrays differ
   *     in length
   */
  public static PackLayout of(int[] h, int[] w) {
    if (h.length != w.length || h.length == 0) {
      throw new IllegalArgumentException(
          "expected heights and widths of 1 image or more, found " + h.length + " and " + w.length);
    }
    return new PackLayout(h.clone(), w.clone());
  }

  /**
   * A layout from {@code hw_list} [B, 2], row-major, h first.
   *
   * @throws IllegalArgumentException as {@link #of(int[], int[])}
   */
  public static PackLayout ofHwList(long[] hwList) {
    if (hwList.length % 2 != 0) {
      throw new IllegalArgumentException(
          "hw_list: expected [B, 2], found " + hwList.length + " values");
    }
    int[] h = new int[hwList.length / 2];
    int[] w = new int[h.length];
    for (int i = 0; i < h.length; i++) {
      h[i] = (int) Math.max(-1, Math.min(Integer.MAX_VALUE, hwList[2 * i]));
      w[i] = (int) Math.max(-1, Math.min(Integer.MAX_VALUE, hwList[2 * i + 1]));
    }
    return of(h, w);
  }

  /**
   * The layout of some images, one after the other.
   *
   * @param from the first one
   * @param to the one behind the last
   */
  public PackLayout part(int from, int to) {
    return new PackLayout(Arrays.copyOfRange(h, from, to), Arrays.copyOfRange(w, from, to));
  }

  /** B. */
  public int images() {
    return h.length;
  }

  /** N. */
  public int tokens() {
    return cuSeqlens[h.length];
  }

  /** Height of an image in tokens. */
  public int h(int image) {
    return h[image];
  }

  /** Width of an image in tokens. */
  public int w(int image) {
    return w[image];
  }

  /** Index of an image's first token. */
  public int start(int image) {
    return cuSeqlens[image];
  }

  /** Tokens of an image, h·w. */
  public int tokens(int image) {
    return cuSeqlens[image + 1] - cuSeqlens[image];
  }

  /** [B+1]: 0, then the running sum of tokens; a copy. */
  public int[] cuSeqlens() {
    return cuSeqlens.clone();
  }

  /** [B, 2], h first; a copy. */
  public int[] hwList() {
    int[] hw = new int[2 * h.length];
    for (int i = 0; i < h.length; i++) {
      hw[2 * i] = h[i];
      hw[2 * i + 1] = w[i];
    }
    return hw;
  }

  /** [N]: the image that each token belongs to. */
  public int[] imageIndex() {
    int[] index = new int[tokens()];
    for (int i = 0; i < h.length; i++) {
      Arrays.fill(index, cuSeqlens[i], cuSeqlens[i + 1], i);
    }
    return index;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof PackLayout layout
        && Arrays.equals(h, layout.h)
        && Arrays.equals(w, layout.w);
  }

  @Override
  public int hashCode() {
    return 31 * Arrays.hashCode(h) + Arrays.hashCode(w);
  }

  @Override
  public String toString() {
    return images() + " images, " + tokens() + " tokens";
  }
}
