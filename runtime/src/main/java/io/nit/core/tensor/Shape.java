package io.nit.core.tensor;

import java.util.Arrays;

/** Extents of a tensor, outermost first; immutable. A scalar has none. */
public final class Shape {
  private final long[] dims;

  private Shape(long[] dims) {
    this.dims = dims;
  }

  /**
   * A shape.
   *
   * @throws IllegalArgumentException if an extent is negative or the element count overflows a long
   */
  public static Shape of(long... dims) {
    Shape shape = new Shape(dims.clone());
    shape.elements();
    return shape;
  }

  /** Number of extents. */
  public int rank() {
    return dims.length;
  }

  /** Extent {@code axis}; negative axes count from the end. */
  public long dim(int axis) {
    return dims[axis < 0 ? dims.length + axis : axis];
  }

  /** A copy of the extents. */
  public long[] dims() {
    return dims.clone();
  }

  /** The product of the extents; 1 for a scalar. */
  public long elements() {
    long product = 1;
    boolean empty = false;
    for (long dim : dims) {
      if (dim < 0) {
        throw new IllegalArgumentException("shape " + this + ": expected extents of 0 or more");
      }
      empty |= dim == 0;
    }
    if (empty) {
      return 0;
    }
    for (long dim : dims) {
      try {
        product = Math.multiplyExact(product, dim);
      } catch (ArithmeticException e) {
        throw new IllegalArgumentException("shape " + this + ": too many elements", e);
      }
    }
    return product;
  }

  @Override
  public boolean equals(Object other) {
    return other instanceof Shape shape && Arrays.equals(dims, shape.dims);
  }

  @Override
  public int hashCode() {
    return Arrays.hashCode(dims);
  }

  /** As in messages: {@code [3456, 1152]}. */
  @Override
  public String toString() {
    return Arrays.toString(dims);
  }
}
