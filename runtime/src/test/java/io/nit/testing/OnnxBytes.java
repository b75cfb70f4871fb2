package io.nit.testing;

import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/** A protobuf message under construction, and the ones that ONNX files are made of. */
final class OnnxBytes {
  static final int FLOAT = 1;
  static final int INT32 = 6;
  static final int INT64 = 7;
  static final int FLOAT16 = 10;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  /** A model of one graph. */
  static byte[] model(OnnxBytes graph) {
    OnnxBytes opset = new OnnxBytes().string(1, "").varint(2, 18);
    return new OnnxBytes()
        .varint(1, 8)
        .bytes(7, graph.toBytes())
        .bytes(8, opset.toBytes())
        .toBytes();
  }

  /** An initializer of integers, [values]. */
  static byte[] tensor(String name, long... values) {
    OnnxBytes tensor = new OnnxBytes();
    if (values.length > 0) {
      tensor.varint(1, values.length);
    }
    tensor.varint(2, INT64);
    for (long value : values) {
      tensor.varint(7, value);
    }
    return tensor.string(8, name).toBytes();
  }

  /** An initializer of floats. */
  static byte[] tensor(String name, float[] values, int... dims) {
    OnnxBytes tensor = new OnnxBytes();
    for (int dim : dims) {
      tensor.varint(1, dim);
    }
    ByteBuffer raw = ByteBuffer.allocate(4 * values.length).order(ByteOrder.LITTLE_ENDIAN);
    raw.asFloatBuffer().put(values);
    return tensor.varint(2, FLOAT).string(8, name).bytes(9, raw.array()).toBytes();
  }

  /** An input or output; strings are dynamic extents. */
  static byte[] valueInfo(String name, int type, Object... dims) {
    OnnxBytes shape = new OnnxBytes();
    for (Object dim : dims) {
      OnnxBytes extent = new OnnxBytes();
      if (dim instanceof String symbol) {
        extent.string(2, symbol);
      } else {
        extent.varint(1, (Integer) dim);
      }
      shape.bytes(1, extent.toBytes());
    }
    OnnxBytes tensorType = new OnnxBytes().varint(1, type).bytes(2, shape.toBytes());
    return new OnnxBytes()
        .string(1, name)
        .bytes(2, new OnnxBytes().bytes(1, tensorType.toBytes()).toBytes())
        .toBytes();
  }

  /** Adds a node to a graph. */
  static void node(
      OnnxBytes graph, String op, List<byte[]> attributes, String output, String... inputs) {
    OnnxBytes node = new OnnxBytes();
    for (String input : inputs) {
      node.string(1, input);
    }
    node.string(2, output).string(4, op);
    attributes.forEach(attribute -> node.bytes(5, attribute));
    graph.bytes(1, node.toBytes());
  }

  /** An attribute of one integer. */
  static byte[] attribute(String name, long value) {
    return new OnnxBytes().string(1, name).varint(3, value).varint(20, 2).toBytes();
  }

  /** An attribute of integers. */
  static byte[] attribute(String name, long... values) {
    OnnxBytes attribute = new OnnxBytes().string(1, name);
    for (long value : values) {
      attribute.varint(8, value);
    }
    return attribute.varint(20, 7).toBytes();
  }

  OnnxBytes varint(int field, long value) {
    raw((long) field << 3);
    raw(value);
    return this;
  }

  OnnxBytes bytes(int field, byte[] value) {
    raw((long) field << 3 | 2);
    raw(value.length);
    out.writeBytes(value);
    return this;
  }

  OnnxBytes string(int field, String value) {
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
