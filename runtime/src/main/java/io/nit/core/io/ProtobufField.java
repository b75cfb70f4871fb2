package io.nit.core.io;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.List;

/**
 * A field as it stands in a protobuf message: its number and wire type as one varint, then a varint
 * (type 0), 8 bytes (1), a length and so many bytes (2) or 4 bytes (5). Its buffers are parts of
 * the outermost message's memory, with their positions in it.
 *
 * @param number the field's number
 * @param whole the field with its number
 * @param value the bytes of a field of type 2; of others what follows the number
 */
public record ProtobufField(int number, ByteBuffer whole, ByteBuffer value) {
  private static final int VARINT = 0;
  private static final int FIXED64 = 1;
  private static final int BYTES = 2;
  private static final int FIXED32 = 5;

  /**
   * The fields of a message, in its order; none of its bytes is copied.
   *
   * @throws IllegalArgumentException if it is none
   */
  public static List<ProtobufField> of(ByteBuffer message) {
    ByteBuffer in = message.duplicate().order(ByteOrder.LITTLE_ENDIAN);
    List<ProtobufField> fields = new ArrayList<>();
    while (in.hasRemaining()) {
      int start = in.position();
      long key = varint(in);
      int from = in.position();
      long end =
          switch ((int) (key & 7)) {
            case VARINT -> {
              varint(in);
              yield in.position();
            }
            case FIXED64 -> from + 8L;
            case BYTES -> {
              long length = varint(in);
              from = in.position();
              yield from + length;
            }
            case FIXED32 -> from + 4L;
            default -> -1;
          };
      if (end < from || end > in.limit()) {
        throw new IllegalArgumentException(
            "no protobuf message: field " + (key >>> 3) + " at byte " + start);
      }
      fields.add(
          new ProtobufField(
              (int) (key >>> 3),
              message.duplicate().limit((int) end).position(start),
              message.duplicate().limit((int) end).position(from)));
      in.position((int) end);
    }
    return fields;
  }

  private static long varint(ByteBuffer in) {
    long value = 0;
    for (int shift = 0; shift < 64 && in.hasRemaining(); shift += 7) {
      byte next = in.get();
      value |= (long) (next & 0x7f) << shift;
      if (next >= 0) {
        return value;
      }
    }
    throw new IllegalArgumentException("no protobuf message: a number at its end");
  }

  /** A field of type 2 as text. */
  public String text() {
    return StandardCharsets.UTF_8.decode(value.duplicate()).toString();
  }

  /** A field of type 0, as an integer. */
  public long integer() {
    return varint(value.duplicate());
  }
}
