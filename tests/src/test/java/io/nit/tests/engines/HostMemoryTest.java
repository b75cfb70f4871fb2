package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.core.trt.HostMemory;
import java.nio.ByteBuffer;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.junit.jupiter.api.Test;

/** Plans of more than 2 GiB, as a NiT-XL in single precision has. */
class HostMemoryTest {
  private static final long BYTES = (1L << 31) + 64;

  @Test
  void whatLiesAbove2GiBIsThere() {
    Pointer memory = Pointer.malloc(BYTES); // of which a few pages are ever touched
    try {
      BytePointer bytes = new BytePointer(memory).capacity(BYTES);
      bytes.put(BYTES - 1, (byte) 7);
      ByteBuffer last = HostMemory.chunk(memory, BYTES - 32, 32);
      assertEquals(32, last.remaining());
      assertEquals(7, last.get(31));
      last.put(0, (byte) 9);
      assertEquals(9, bytes.get(BYTES - 32));

      ByteBuffer across = HostMemory.chunk(memory, (1L << 31) - 16, 32);
      across.put(31, (byte) 5);
      assertEquals(5, bytes.get((1L << 31) + 15));
    } finally {
      Pointer.free(memory);
    }
  }

  @Test
  void moreThanABufferHoldsIsRefused() {
    assertThrows(ArithmeticException.class, () -> HostMemory.chunk(new Pointer(), 0, 1L << 31));
  }
}
