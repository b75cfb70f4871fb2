package io.nit.exporter.onnx;

import io.nit.core.ops.NitOps;
import io.nit.core.ops.PluginSpec;
import java.util.ArrayList;
import java.util.List;

/**
 * The nodes of a graph or of a function's body, in the order they run. Every method adds one node
 * and returns its output's name.
 */
final class NodeList {
  private final List<Message> nodes = new ArrayList<>();

  /** Adds a node of a standard operator. */
  String add(String output, String opType, List<String> inputs, Message... attributes) {
    return add(List.of(output), opType, inputs, attributes);
  }

  /** Adds a node of a standard operator with several outputs; returns the first one's name. */
  String add(List<String> outputs, String opType, List<String> inputs, Message... attributes) {
    nodes.add(Onnx.node("", opType, inputs, outputs, List.of(attributes)));
    return outputs.get(0);
  }

  /** Adds one of our own nodes. */
  String add(String output, PluginSpec op, List<String> inputs, Message... attributes) {
    nodes.add(Onnx.node(NitOps.DOMAIN, op.name(), inputs, List.of(output), List.of(attributes)));
    return output;
  }

  /** Adds a constant list of integers. */
  String longs(String output, long... values) {
    return constant(output, Onnx.tensor(values, values.length));
  }

  /** Adds a constant integer without extents. */
  String scalar(String output, long value) {
    return constant(output, Onnx.tensor(new long[] {value}));
  }

  /** Adds a constant float without extents. */
  String scalar(String output, float value) {
    return constant(output, Onnx.tensor(new float[] {value}));
  }

  /** Adds a constant. */
  String constant(String output, Message tensor) {
    return add(output, "Constant", List.of(), Onnx.tensorAttribute("value", tensor));
  }

  /** The nodes so far. */
  List<Message> messages() {
    return nodes;
  }
}
