package io.nit.core.trt;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** Memory of the host that may be larger than a Java buffer. */
public final class HostMemory {
  private HostMemory() {}

  /**
   * A part of some memory as a buffer.
   *
   * <p>JavaCPP's own way, a pointer's position and limit, cuts both at 2 GiB without a word, so
   * that what lies above is an empty buffer; hence an address of its own.
   *
   * @param memory which stays its owner's, and has at least {@code at + bytes} bytes
   * @param at the first byte
   * @param bytes at most 2 GiB
   * @return [bytes], in the machine's order, valid as long as the memory
   */
  public static ByteBuffer chunk(Pointer memory, long at, long bytes) {
    return new BytePointer(memory)
        .getPointer(at)
        .capacity(Math.toIntExact(bytes))
        .asByteBuffer()
        .order(ByteOrder.nativeOrder());
  }
}
