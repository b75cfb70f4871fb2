package io.nit.runtime.ort;

import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * Writes ONNX files of one made-up network with NiT's inputs, in protobuf's wire format: {@code v =
 * x·t[image] + y[image] + max(rope_cos + rope_sin) + cu_seqlens[0]}.
 */
final class TinyModel {
  private static final int FLOAT = 1;
  private static final int INT32 = 6;
  private static final int INT64 = 7;

  private final Map<String, byte[]> inputs = new LinkedHashMap<>();

  /** A model of C channels, patch p and the given head width. */
  TinyModel(int channels, int patch, int headDim) {
    input("x", FLOAT, "tokens", channels, patch, patch);
    input("t", FLOAT, "images");
    input("y", INT64, "images");
    input("cu_seqlens", INT32, "images_plus_1");
    input("image_index", INT32, "tokens");
    input("rope_cos", FLOAT, "tokens", headDim);
    input("rope_sin", FLOAT, "tokens", headDim);
  }

  /** Replaces or adds an input; strings are dynamic extents. */
  TinyModel input(String name, int type, Object... dims) {
    inputs.put(name, valueInfo(name, type, dims));
    return this;
  }

  /** Writes the file. */
  Path write(Path file, int channels, int patch) throws IOException {
    Message graph = new Message();
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
    graph.bytes(5, tensor("axes", 1, 2, 3));
    graph.bytes(5, tensor("rope_axes", 1));
    graph.bytes(5, tensor("zero", 0));
    inputs.values().forEach(input -> graph.bytes(11, input));
    graph.bytes(12, valueInfo("v", FLOAT, "tokens", channels, patch, patch));
    Message opset = new Message().string(1, "").varint(2, 18);
    Message model = new Message().varint(1, 8).bytes(7, graph.toBytes()).bytes(8, opset.toBytes());
    return Files.write(file, model.toBytes());
  }

  private static void node(Message graph, String op, String output, String... inputs) {
    Message node = new Message();
    for (String input : inputs) {
      node.string(1, input);
    }
    node.string(2, output).string(4, op);
    if (op.equals("Cast")) {
      node.bytes(5, new Message().string(1, "to").varint(3, FLOAT).varint(20, 2).toBytes());
    }
    if (op.equals("ReduceMax")) {
      node.bytes(5, new Message().string(1, "keepdims").varint(3, 0).varint(20, 2).toBytes());
    }
    graph.bytes(1, node.toBytes());
  }

  private static byte[] tensor(String name, long... values) {
    Message tensor = new Message();
    if (values.length > 0) {
      tensor.varint(1, values.length);
    }
    tensor.varint(2, INT64);
    for (long value : values) {
      tensor.varint(7, value);
    }
    return tensor.string(8, name).toBytes();
  }

  private static byte[] valueInfo(String name, int type, Object... dims) {
    Message shape = new Message();
    for (Object dim : dims) {
      Message extent = new Message();
      if (dim instanceof String symbol) {
        extent.string(2, symbol);
      } else {
        extent.varint(1, (Integer) dim);
      }
      shape.bytes(1, extent.toBytes());
    }
    Message tensorType = new Message().varint(1, type).bytes(2, shape.toBytes());
    return new Message()
        .string(1, name)
        .bytes(2, new Message().bytes(1, tensorType.toBytes()).toBytes())
        .toBytes();
  }

  /** A protobuf message under construction. */
  private static final class Message {
    private final ByteArrayOutputStream out = new ByteArrayOutputStream();

    Message varint(int field, long value) {
      raw((long) field << 3);
      raw(value);
      return this;
    }

    Message bytes(int field, byte[] value) {
      raw((long) field << 3 | 2);
      raw(value.length);
      out.writeBytes(value);
      return this;
    }

    Message string(int field, String value) {
      return bytes(field, value.getBytes(StandardCharsets.UTF_8));
    }

    byte[] toBytes() {
      return out.toByteArray();
    }

    private void raw(long value) {
      long rest = value;
      while ((rest & ~0x7fL) != 0) {
        out.write((int) (rest & 0x7f | 0x80));
        rest >>>= 7;
      }
      out.write((int) rest);
    }
  }
}
