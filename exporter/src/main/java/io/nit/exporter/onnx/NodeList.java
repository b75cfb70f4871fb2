package io.nit.exporter.onnx;

import io.nit.core.ops.NitOps;
import io.nit.core.ops.PluginSpec;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.function.UnaryOperator;

/**
 * The nodes of a graph or of a function's body, in the order they run. Every method adds one node
 * and returns its output's name.
 */
final class NodeList {
  private final List<Message> nodes;
  private final Map<String, Integer> own;
  private final UnaryOperator<String> names;

  /** No nodes yet. */
  NodeList() {
    this(new ArrayList<>(), new TreeMap<>(), UnaryOperator.identity());
  }

  private NodeList(List<Message> nodes, Map<String, Integer> own, UnaryOperator<String> names) {
    this.nodes = nodes;
    this.own = own;
    this.names = names;
  }

  /**
   * A view that adds to these nodes what a function's body would hold: names of {@code bound} stand
   * for values of the graph, all others get a prefix, so that a body can be put in many times.
   */
  NodeList within(String prefix, Map<String, String> bound) {
    return new NodeList(
        nodes, own, name -> name.isEmpty() ? name : bound.getOrDefault(name, prefix + "." + name));
  }

  /** Adds a node of a standard operator. */
  String add(String output, String opType, List<String> inputs, Message... attributes) {
    return add(List.of(output), opType, inputs, attributes);
  }

  /** Adds a node of a standard operator with several outputs; returns the first one's name. */
  String add(List<String> outputs, String opType, List<String> inputs, Message... attributes) {
    nodes.add(Onnx.node("", opType, renamed(inputs), renamed(outputs), List.of(attributes)));
    return outputs.get(0);
  }

  /** Adds one of our own nodes. */
  void add(List<String> outputs, PluginSpec op, List<String> inputs, List<Message> attributes) {
    nodes.add(Onnx.node(NitOps.DOMAIN, op.name(), renamed(inputs), renamed(outputs), attributes));
    own.merge(op.name(), 1, Integer::sum);
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

  /** How many of our own nodes there are of each type. */
  Map<String, Integer> own() {
    return own;
  }

  private List<String> renamed(List<String> values) {
    return values.stream().map(names).toList();
  }
}
