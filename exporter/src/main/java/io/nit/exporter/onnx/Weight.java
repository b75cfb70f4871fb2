package io.nit.exporter.onnx;

import io.nit.core.tensor.DType;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;

/**
 * A checkpoint tensor as the graph stores it.
 *
 * @param name the checkpoint key, and the initializer's name
 * @param stored type and shape in the file; the checkpoint's own shape may differ in its grouping
 *     of extents, never in the order of values
 */
record Weight(String name, TensorSpec stored) {
  /** A weight of a type and shape. */
  static Weight of(String name, DType type, long... dims) {
    return new Weight(name, new TensorSpec(name, type, Shape.of(dims)));
  }
}
