package io.nit.testing;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Writes ONNX files of one made-up network with NiT's inputs, in protobuf's wire format: {@code v =
 * x·t[image] + y[image] + max(rope_cos + rope_sin) + cu_seqlens[0]}.
 */
public final class TinyModel {
  private final Map<String, byte[]> inputs = new LinkedHashMap<>();

  /** A model of C channels, patch p and the given head width. */
  public TinyModel(int channels, int patch, int headDim) {
    input("x", OnnxBytes.FLOAT, "tokens", channels, patch, patch);
    input("t", OnnxBytes.FLOAT, "images");
    input("y", OnnxBytes.INT64, "images");
    input("cu_seqlens", OnnxBytes.INT32, "images_plus_1");
    input("image_index", OnnxBytes.INT32, "tokens");
    input("rope_cos", OnnxBytes.FLOAT, "tokens", headDim);
    input("rope_sin", OnnxBytes.FLOAT, "tokens", headDim);
  }

  /** Replaces or adds an input; strings are dynamic extents. */
  public TinyModel input(String name, int type, Object... dims) {
    inputs.put(name, OnnxBytes.valueInfo(name, type, dims));
    return this;
  }

  /** Writes the file. */
  public Path write(Path file, int channels, int patch) throws IOException {
    OnnxBytes graph = new OnnxBytes();
    node(graph, "Gather", "t_token", "t", "image_index");
    node(graph, "Unsqueeze", "t_column", "t_token", "axes");
    node(graph, "Mul", "scaled", "x", "t_column");
    node(graph, "Cast", "y_float", "y");
    node(graph, "Gather", "y_token", "y_float", "image_index");
    node(graph, "Unsqueeze", "y_column", "y_token", "axes");
    node(graph, "Add", "labelled", "scaled", "y_column");
    node(graph, "Add", "rope", "rope_cos", "rope_sin");
    node(graph, "ReduceMax", "rope_token", "rope", "rope_axes");
    node(graph, "Unsqueeze", "rope_column", "rope_token", "axes");
    node(graph, "Add", "turned", "labelled", "rope_column");
    node(graph, "Cast", "cu_float", "cu_seqlens");
    node(graph, "Gather", "cu_first", "cu_float", "zero");
    node(graph, "Add", "v", "turned", "cu_first");
    graph.string(2, "tiny");
    graph.bytes(5, OnnxBytes.tensor("axes", 1, 2, 3));
    graph.bytes(5, OnnxBytes.tensor("rope_axes", 1));
    graph.bytes(5, OnnxBytes.tensor("zero", 0));
    inputs.values().forEach(input -> graph.bytes(11, input));
    graph.bytes(12, OnnxBytes.valueInfo("v", OnnxBytes.FLOAT, "tokens", channels, patch, patch));
    return Files.write(file, OnnxBytes.model(graph));
  }

  private static void node(OnnxBytes graph, String op, String output, String... inputs) {
    List<byte[]> attributes =
        switch (op) {
          case "Cast" -> List.of(OnnxBytes.attribute("to", OnnxBytes.FLOAT));
          case "ReduceMax" -> List.of(OnnxBytes.attribute("keepdims", 0));
          default -> List.of();
        };
    OnnxBytes.node(graph, op, attributes, output, inputs);
  }
}
