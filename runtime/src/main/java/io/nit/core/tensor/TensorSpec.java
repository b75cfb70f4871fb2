package io.nit.core.tensor;

import java.util.Objects;

/**
 * Name, type and shape of a tensor.
 *
 * @param name the checkpoint key
 * @param dtype element type
 * @param shape extents
 */
public record TensorSpec(String name, DType dtype, Shape shape) {
  /** Checks that nothing is null. */
  public TensorSpec {
    Objects.requireNonNull(name);
    Objects.requireNonNull(dtype);
    Objects.requireNonNull(shape);
  }

  /** Size of the values in bytes. */
  public long bytes() {
    return Math.multiplyExact(shape.elements(), dtype.bytes());
  }
}
