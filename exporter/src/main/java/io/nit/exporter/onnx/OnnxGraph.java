package io.nit.exporter.onnx;

import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;

/**
 * A network laid out as an ONNX graph, ready for {@link OnnxFile} to write with a checkpoint's
 * weights. Weights carry their checkpoint keys as names; those that are stored in another type than
 * they are computed with are cast, once when the model is loaded.
 */
public abstract sealed class OnnxGraph permits NitGraph, DcAeGraph {
  /**
   * Version of the standard operators: the first with Gelu(tanh), and one that TensorRT 10 reads.
   */
  public static final int OPSET = 20;

  /** File format version that came with that operator set. */
  static final int IR_VERSION = 9;

  /** The nodes in the order they run. */
  final NodeList nodes = new NodeList();

  private final DType storage;
  private final Map<String, TensorSpec> checkpoint;
  private final Map<String, Weight> weights = new LinkedHashMap<>();

  /**
   * An empty graph.
   *
   * @param storage type that weights are stored in: F32, F16 or BF16
   * @param checkpoint the tensors that it takes its weights from, by name
   * @throws IllegalArgumentException if {@code storage} is another type
   */
  OnnxGraph(DType storage, Map<String, TensorSpec> checkpoint) {
    Onnx.elementType(storage);
    this.storage = storage;
    this.checkpoint = checkpoint;
  }

  /** Type that weights are stored in; {@link #stored} may name another for some. */
  public final DType storage() {
    return storage;
  }

  /** Bytes of all weights as stored. */
  public final long weightBytes() {
    return weights.values().stream().mapToLong(w -> w.stored().bytes()).sum();
  }

  /** The weights in forward order. */
  final List<Weight> weights() {
    return List.copyOf(weights.values());
  }

  /**
   * Checks that a checkpoint is one of this network.
   *
   * @throws IllegalArgumentException naming every tensor that is missing, unexpected or misshapen
   */
  abstract void require(TensorSource checkpoint);

  /** Everything of the model but its graph: versions, functions, metadata. */
  abstract Message model();

  /** The graph without its weights' values. */
  abstract Message graph();

  /** Name, type and shape of a tensor of the checkpoint. */
  final Shape shape(String key) {
    return checkpoint.get(key).shape();
  }

  /** Whether the checkpoint has a tensor. */
  final boolean has(String key) {
    return checkpoint.containsKey(key);
  }

  /** Type that a weight is stored in which is used as {@code compute}. */
  DType stored(DType compute) {
    return storage;
  }

  /** A weight with the checkpoint's extents, as {@code compute}; returns its name. */
  final String weight(String key, DType compute) {
    return weight(key, compute, shape(key).dims());
  }

  /** A weight with other extents for the same values, as {@code compute}; returns its name. */
  final String weight(String key, DType compute, long... dims) {
    return weight(key, List.of(key), compute, dims);
  }

  /** Several of the checkpoint's tensors one behind the other as a weight; returns its name. */
  final String weight(String name, List<String> parts, DType compute, long... dims) {
    DType stored = stored(compute);
    weights.put(name, new Weight(parts, new TensorSpec(name, stored, Shape.of(dims))));
    if (stored == compute) {
      return name;
    }
    String cast = name + "." + compute.name().toLowerCase(Locale.ROOT);
    return nodes.add(cast, "Cast", List.of(name), Onnx.attribute("to", Onnx.elementType(compute)));
  }

  /** The attribute {@code axis}. */
  static Message axis(long axis) {
    return Onnx.attribute("axis", axis);
  }
}
