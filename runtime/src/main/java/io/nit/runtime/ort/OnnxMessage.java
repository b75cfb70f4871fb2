package io.nit.runtime.ort;

import io.nit.core.io.ProtobufField;
import java.io.ByteArrayOutputStream;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.List;

/**
 * A protobuf message under construction: as much as it takes to change a few nodes of an ONNX file.
 *
 * <p>The numbers of the fields are those of the public {@code onnx.proto}.
 */
final class OnnxMessage {
  static final int FLOAT = 1;
  static final int INT32 = 6;
  static final int INT64 = 7;

  private static final int VARINT = 0;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;

  private final ByteArrayOutputStream out = new ByteArrayOutputStream();

  OnnxMessage number(int field, long value) {
    raw((long) field << 3 | VARINT);
    raw(value);
    return this;
  }

  OnnxMessage number(int field, float value) {
    raw((long) field << 3 | FIXED32);
    out.writeBytes(little(value));
    return this;
  }

  OnnxMessage bytes(int field, byte[] value) {
    raw((long) field << 3 | BYTES);
    raw(value.length);
    out.writeBytes(value);
    return this;
  }

  OnnxMessage text(int field, String value) {
    return bytes(field, value.getBytes(StandardCharsets.UTF_8));
  }

  OnnxMessage message(int field, OnnxMessage value) {
    return bytes(field, value.toBytes());
  }

  /** Takes a field over as it stands. */
  OnnxMessage field(ProtobufField field) {
    ByteBuffer whole = field.whole().duplicate();
    byte[] bytes = new byte[whole.remaining()];
    whole.get(bytes);
    out.writeBytes(bytes);
    return this;
  }

  byte[] toBytes() {
    return out.toByteArray();
  }

  /** A model of one graph in an operator set of the standard domain. */
  static OnnxMessage model(OnnxMessage graph, int irVersion, int opset) {
    return new OnnxMessage().number(1, irVersion).message(7, graph).message(8, opset("", opset));
  }

  /** An operator set that a model takes nodes from. */
  static OnnxMessage opset(String domain, int version) {
    return new OnnxMessage().text(1, domain).number(2, version);
  }

  /** A node; an input that is left out is the empty string. */
  static OnnxMessage node(
      String domain,
      String op,
      List<String> inputs,
      List<String> outputs,
      OnnxMessage... attributes) {
    OnnxMessage node = new OnnxMessage();
    inputs.forEach(input -> node.text(1, input));
    outputs.forEach(output -> node.text(2, output));
    node.text(4, op);
    for (OnnxMessage attribute : attributes) {
      node.message(5, attribute);
    }
    return node.text(7, domain);
  }

  static OnnxMessage attribute(String name, long value) {
    return new OnnxMessage().text(1, name).number(3, value).number(20, 2);
  }

  static OnnxMessage attribute(String name, float value) {
    return new OnnxMessage().text(1, name).number(2, value).number(20, 1);
  }

  static OnnxMessage attribute(String name, OnnxMessage tensor) {
    return new OnnxMessage().text(1, name).message(5, tensor).number(20, 4);
  }

  /** A tensor of a type, from its values' bytes. */
  static OnnxMessage tensor(String name, int type, byte[] values, long... dims) {
    OnnxMessage tensor = new OnnxMessage();
    for (long dim : dims) {
      tensor.number(1, dim);
    }
    return tensor.number(2, type).text(8, name).bytes(9, values);
  }

  /** An input or output of fixed extents. */
  static OnnxMessage value(String name, int type, long... dims) {
    OnnxMessage shape = new OnnxMessage();
    for (long dim : dims) {
      shape.message(1, new OnnxMessage().number(1, dim));
    }
    OnnxMessage tensor = new OnnxMessage().number(1, type).message(2, shape);
    return new OnnxMessage().text(1, name).message(2, new OnnxMessage().message(1, tensor));
  }

  /** Floats as a tensor holds them. */
  static byte[] little(float... values) {
    ByteBuffer bytes =
        ByteBuffer.allocate(Float.BYTES * values.length).order(ByteOrder.LITTLE_ENDIAN);
    bytes.asFloatBuffer().put(values);
    return bytes.array();
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
