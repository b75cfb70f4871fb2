package io.nit.exporter.trt;

import io.nit.core.tensor.Shape;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * A profile of an engine: the sizes that its inputs may have, and those that it is tuned for.
 *
 * @param name the profile's, for messages
 * @param inputs the sizes of every input by its name
 */
public record InputSizes(String name, Map<String, Range> inputs) {
  /** Copies the map. */
  public InputSizes {
    inputs = new LinkedHashMap<>(inputs);
  }

  /**
   * Sizes of an input.
   *
   * @param least the smallest extents
   * @param typical the extents that kernels are chosen for
   * @param most the largest extents
   */
  public record Range(Shape least, Shape typical, Shape most) {}
}
