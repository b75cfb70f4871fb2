package io.nit.exporter.onnx;

import io.nit.core.tensor.TensorSpec;
import java.util.List;

/**
 * A weight as the graph stores it: a tensor of the checkpoint, or several one behind the other.
 *
 * @param parts checkpoint keys of the tensors whose values it holds, in their order
 * @param stored name of the initializer, type and shape in the file; the extents may differ in
 *     their grouping from the checkpoint's, never in the order of values
 */
record Weight(List<String> parts, TensorSpec stored) {
  /** Name of the initializer. */
  String name() {
    return stored.name();
  }
}
