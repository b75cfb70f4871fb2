package io.nit.runtime.ort;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.HashMap;
import java.util.Map;

/**
 * Native memory for inputs by name, kept from one forward to the next and made larger when needed,
 * so that a sampling run allocates none.
 */
final class DirectBuffers {
  private final Map<String, ByteBuffer> buffers = new HashMap<>();

  /** A cleared buffer of exactly {@code bytes}; what it held is lost. */
  ByteBuffer get(String name, int bytes) {
    ByteBuffer buffer = buffers.get(name);
    if (buffer == null || buffer.capacity() < bytes) {
      // A quarter more than asked for: packs grow by one image at a time.
      int capacity = (int) Math.min(Integer.MAX_VALUE - 64L, bytes + bytes / 4L);
      buffer = ByteBuffer.allocateDirect(Math.max(bytes, capacity));
      buffers.put(name, buffer);
    }
    return buffer.duplicate().order(ByteOrder.nativeOrder()).clear().limit(bytes);
  }

  /** A buffer of {@code values.length} floats that holds a copy of them. */
  FloatBuffer floats(String name, float[] values) {
    return get(name, Math.multiplyExact(values.length, Float.BYTES))
        .asFloatBuffer()
        .put(values)
        .flip();
  }
}
