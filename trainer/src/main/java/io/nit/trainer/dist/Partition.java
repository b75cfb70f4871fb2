package io.nit.trainer.dist;

/**
 * One tensor's elements dealt out to ranks: neighbouring parts of one size, the last one with what
 * is left. Parts begin at multiples of 64 elements, as parameters do.
 *
 * @param elements elements in all
 * @param parts ranks
 */
public record Partition(long elements, int parts) {
  private static final long ALIGNMENT = 64;

  /** Checks the values. */
  public Partition {
    if (elements < 0 || parts < 1) {
      throw new IllegalArgumentException(
          "partition: expected elements of 0 or more and parts of 1 or more, found "
              + elements
              + " and "
              + parts);
    }
  }

  /** Elements of every part but the last. */
  public long size() {
    return elements / ALIGNMENT / parts * ALIGNMENT;
  }

  /** A part's first element. */
  public long from(int part) {
    return part * size();
  }

  /** The element behind a part's last one. */
  public long to(int part) {
    return part == parts - 1 ? elements : (part + 1) * size();
  }

  /**
   * Where a piece of a part begins. All parts are cut alike, and pieces begin as parts do; behind
   * the last piece is the part's end.
   */
  public long piece(int part, int piece, int pieces) {
    return piece == pieces
        ? to(part)
        : from(part) + (to(part) - from(part)) / ALIGNMENT * piece / pieces * ALIGNMENT;
  }
}
