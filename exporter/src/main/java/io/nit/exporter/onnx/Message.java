package io.nit.exporter.onnx;

import com.google.protobuf.ByteString;
import com.google.protobuf.CodedOutputStream;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.List;

/**
 * A protobuf message being written: its fields in the wire format, in the order they were added.
 */
final class Message {
  private final ByteArrayOutputStream bytes = new ByteArrayOutputStream();
  private final CodedOutputStream out = CodedOutputStream.newInstance(bytes);

  private interface Write {
    void to(CodedOutputStream out) throws IOException;
  }

  /** Adds an integer or enum. */
  Message number(int field, long value) {
    return write(o -> o.writeInt64(field, value));
  }

  /** Adds every integer, unpacked, which every parser reads. */
  Message numbers(int field, long... values) {
    for (long value : values) {
      number(field, value);
    }
    return this;
  }

  /** Adds a float. */
  Message number(int field, float value) {
    return write(o -> o.writeFloat(field, value));
  }

  /** Adds a string. */
  Message text(int field, String value) {
    return write(o -> o.writeString(field, value));
  }

  /** Adds every string. */
  Message texts(int field, List<String> values) {
    values.forEach(value -> text(field, value));
    return this;
  }

  /** Adds raw bytes. */
  Message bytes(int field, byte[] value) {
    return write(o -> o.writeByteArray(field, value));
  }

  /** Adds a message as it is now. */
  Message message(int field, Message value) {
    return write(o -> o.writeBytes(field, ByteString.copyFrom(value.toBytes())));
  }

  /** Adds every message as it is now. */
  Message messages(int field, List<Message> values) {
    values.forEach(value -> message(field, value));
    return this;
  }

  /** The fields so far. */
  byte[] toBytes() {
    write(CodedOutputStream::flush);
    return bytes.toByteArray();
  }

  private Message write(Write write) {
    try {
      write.to(out);
      return this;
    } catch (IOException e) {
      throw new UncheckedIOException("memory does not fail to take bytes", e);
    }
  }
}
