package io.nit.core.ops;

import java.util.List;

/**
 * One of our graph nodes, as exporter, plugins and tests agree on it.
 *
 * @param name op type and plugin name
 * @param inputs in order; the last may be absent where their shape says so
 * @param outputs in order
 * @param attributes what the node carries
 */
public record PluginSpec(
    String name, List<Tensor> inputs, List<Tensor> outputs, List<Attribute> attributes) {
  /**
   * An input or output.
   *
   * @param name as in the plugin's table
   * @param dtype {@code T} for the network's own type
   * @param shape in the letters of {@link NitOps}
   */
  public record Tensor(String name, String dtype, String shape) {}

  /**
   * An attribute.
   *
   * @param name as in the graph
   * @param type {@code int} or {@code float}
   */
  public record Attribute(String name, String type) {}
}
