package io.nit.core.tensor;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotEquals;
import static org.junit.jupiter.api.Assertions.assertSame;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.junit.jupiter.api.Test;

class HostTensorTest {
  @Test
  void floatTypesConvertIntoEachOther() {
    float[] values = {0, 1.5f, -2.25f, 1024};
    HostTensor f32 = HostTensor.of("a", values, 4);
    for (DType type : new DType[] {DType.F64, DType.F16, DType.BF16, DType.F32}) {
      HostTensor other = f32.to(type);
      assertEquals(type, other.dtype());
      assertArrayEquals(values, other.toFloats());
      assertArrayEquals(values, other.to(DType.F32).toFloats());
      assertArrayEquals(new double[] {0, 1.5, -2.25, 1024}, other.toDoubles());
    }
    assertSame(f32, f32.to(DType.F32));
  }

  @Test
  void integersOfEveryWidthAreRead() {
    assertArrayEquals(new long[] {-1, 5}, integers(DType.I8, -1, 5));
    assertArrayEquals(new long[] {255, 5}, integers(DType.U8, -1, 5));
    assertArrayEquals(new long[] {1, 0}, integers(DType.BOOL, 1, 0));
    assertArrayEquals(new long[] {-2}, integers(DType.I16, -2, -1));
    assertArrayEquals(
        new long[] {Integer.MIN_VALUE},
        HostTensor.of("a", new int[] {Integer.MIN_VALUE}, 1).toLongs());
  }

  private static long[] integers(DType type, int... bytes) {
    ByteBuffer data = ByteBuffer.allocate(bytes.length);
    for (int value : bytes) {
      data.put((byte) value);
    }
    Shape shape = Shape.of(bytes.length / type.bytes());
    return new HostTensor(new TensorSpec("a", type, shape), data.flip()).toLongs();
  }

  @Test
  void mixingFloatsAndIntegersIsRefusedByName() {
    HostTensor floats = HostTensor.of("floats", new float[1], 1);
    HostTensor longs = HostTensor.of("longs", new long[1], 1);
    assertEquals(
        "floats: expected integers, found F32",
        assertThrows(IllegalArgumentException.class, floats::toLongs).getMessage());
    assertThrows(IllegalArgumentException.class, () -> longs.to(DType.F32));
    assertThrows(IllegalArgumentException.class, () -> floats.to(DType.I32));
    assertThrows(IllegalArgumentException.class, longs::floats);
  }

  @Test
  void valuesMustFillTheShape() {
    assertThrows(IllegalArgumentException.class, () -> HostTensor.of("a", new float[5], 2, 3));
    assertThrows(
        IllegalArgumentException.class,
        () -> new HostTensor(new TensorSpec("a", DType.F32, Shape.of(2)), ByteBuffer.allocate(7)));
  }

  @Test
  void viewsDoNotDisturbEachOther() {
    ByteBuffer big = ByteBuffer.allocate(12).order(ByteOrder.BIG_ENDIAN);
    big.position(4);
    HostTensor tensor = new HostTensor(new TensorSpec("a", DType.F32, Shape.of(2)), big);
    tensor.bytes().getFloat();
    assertEquals(8, tensor.bytes().remaining());
    assertEquals(ByteOrder.LITTLE_ENDIAN, tensor.bytes().order());
    assertEquals(4, big.position());
    assertEquals("b", tensor.renamed("b").name());
  }

  @Test
  void shapesKnowTheirElementsAndRefuseImpossibleOnes() {
    assertEquals(1, Shape.of().elements());
    assertEquals(0, Shape.of(3, 0, Long.MAX_VALUE).elements());
    assertEquals(24, Shape.of(2, 3, 4).elements());
    assertEquals(4, Shape.of(2, 3, 4).dim(-1));
    assertEquals("[2, 3]", Shape.of(2, 3).toString());
    assertEquals(Shape.of(2, 3).hashCode(), Shape.of(2, 3).hashCode());
    assertNotEquals(Shape.of(2, 3), Shape.of(3, 2));
    assertThrows(IllegalArgumentException.class, () -> Shape.of(-1));
    assertThrows(IllegalArgumentException.class, () -> Shape.of(-1, 0));
    assertThrows(IllegalArgumentException.class, () -> Shape.of(1L << 32, 1L << 32));
  }
}
