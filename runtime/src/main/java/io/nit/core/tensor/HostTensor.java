package io.nit.core.tensor;

import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;

/**
 * A tensor's values in host memory, row-major, little-endian. Owns nothing: the buffer may be
 * mapped from a file, be borrowed from libtorch or lie in heap, and whoever made it says how long
 * it lives.
 *
 * @param spec name, type and shape
 * @param data exactly the values, from position to limit; a view, so that callers may not disturb
 *     each other
 */
public record HostTensor(TensorSpec spec, ByteBuffer data) {
  /**
   * Checks the size.
   *
   * @throws IllegalArgumentException if {@code data} does not hold exactly the values of {@code
   *     spec}
   */
  public HostTensor {
    if (data.remaining() != spec.bytes()) {
      throw new IllegalArgumentException(
          spec.name() + ": expected " + spec.bytes() + " bytes, found " + data.remaining());
    }
    data = data.slice().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** Name in the checkpoint. */
  public String name() {
    return spec.name();
  }

  /** Element type. */
  public DType dtype() {
    return spec.dtype();
  }

  /** Extents. */
  public Shape shape() {
    return spec.shape();
  }

  /** A fresh view of the values, little-endian. */
  public ByteBuffer bytes() {
    return data.duplicate().order(ByteOrder.LITTLE_ENDIAN);
  }

  /** An F32 tensor that copies {@code values}. */
  public static HostTensor of(String name, float[] values, long... dims) {
    ByteBuffer data = allocate(name, DType.F32, values.length, dims);
    data.asFloatBuffer().put(values);
    return new HostTensor(new TensorSpec(name, DType.F32, Shape.of(dims)), data);
  }

  /** An F64 tensor that copies {@code values}. */
  public static HostTensor of(String name, double[] values, long... dims) {
    ByteBuffer data = allocate(name, DType.F64, values.length, dims);
    data.asDoubleBuffer().put(values);
    return new HostTensor(new TensorSpec(name, DType.F64, Shape.of(dims)), data);
  }

  /** An I64 tensor that copies {@code values}. */
  public static HostTensor of(String name, long[] values, long... dims) {
    ByteBuffer data = allocate(name, DType.I64, values.length, dims);
    data.asLongBuffer().put(values);
    return new HostTensor(new TensorSpec(name, DType.I64, Shape.of(dims)), data);
  }

  /** An I32 tensor that copies {@code values}. */
  public static HostTensor of(String name, int[] values, long... dims) {
    ByteBuffer data = allocate(name, DType.I32, values.length, dims);
    data.asIntBuffer().put(values);
    return new HostTensor(new TensorSpec(name, DType.I32, Shape.of(dims)), data);
  }

  private static ByteBuffer allocate(String name, DType type, int length, long... dims) {
    if (Shape.of(dims).elements() != length) {
      throw new IllegalArgumentException(
          name + ": expected " + Shape.of(dims).elements() + " values, found " + length);
    }
    return ByteBuffer.allocate(Math.multiplyExact(length, type.bytes()))
        .order(ByteOrder.LITTLE_ENDIAN);
  }

  /** This tensor under another name; shares the values. */
  public HostTensor renamed(String name) {
    return new HostTensor(new TensorSpec(name, dtype(), shape()), data);
  }

  /**
   * This tensor in another float type; shares the values where the type is the same already.
   *
   * @throws IllegalArgumentException if either type is no float type
   */
  public HostTensor to(DType type) {
    if (type == dtype()) {
      return this;
    }
    if (!type.isFloat() || !dtype().isFloat()) {
      throw new IllegalArgumentException(name() + ": cannot convert " + dtype() + " to " + type);
    }
    int count = Math.toIntExact(shape().elements());
    ByteBuffer out =
        ByteBuffer.allocate(Math.multiplyExact(count, type.bytes())).order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < count; i++) {
      double value = doubleAt(i);
      switch (type) {
        case F64 -> out.putDouble(value);
        case F32 -> out.putFloat((float) value);
        case F16 -> out.putShort(Half.floatToFp16((float) value));
        default -> out.putShort(Half.floatToBf16((float) value));
      }
    }
    return new HostTensor(new TensorSpec(name(), type, shape()), out.flip());
  }

  /** The values as floats, in a new array; doubles are rounded. */
  public float[] toFloats() {
    int count = Math.toIntExact(shape().elements());
    float[] values = new float[count];
    if (dtype() == DType.F32) {
      floats().get(values);
    } else {
      for (int i = 0; i < count; i++) {
        values[i] = (float) doubleAt(i);
      }
    }
    return values;
  }

  /** The values as doubles, in a new array. */
  public double[] toDoubles() {
    double[] values = new double[Math.toIntExact(shape().elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = doubleAt(i);
    }
    return values;
  }

  /**
   * The values as longs, in a new array.
   *
   * @throws IllegalArgumentException if the type is a float type
   */
  public long[] toLongs() {
    if (dtype().isFloat()) {
      throw new IllegalArgumentException(name() + ": expected integers, found " + dtype());
    }
    long[] values = new long[Math.toIntExact(shape().elements())];
    for (int i = 0; i < values.length; i++) {
      values[i] = longAt(i);
    }
    return values;
  }

  /**
   * A view of an F32 tensor.
   *
   * @throws IllegalArgumentException if the type is another
   */
  public FloatBuffer floats() {
    if (dtype() != DType.F32) {
      throw new IllegalArgumentException(name() + ": expected F32, found " + dtype());
    }
    return bytes().asFloatBuffer();
  }

  private long longAt(int i) {
    return switch (dtype()) {
      case I64 -> data.getLong(i * 8);
      case I32 -> data.getInt(i * 4);
      case I16 -> data.getShort(i * 2);
      case I8 -> data.get(i);
      default -> data.get(i) & 0xff;
    };
  }

  private double doubleAt(int i) {
    return switch (dtype()) {
      case F64 -> data.getDouble(i * 8);
      case F32 -> data.getFloat(i * 4);
      case F16 -> Half.fp16ToFloat(data.getShort(i * 2));
      case BF16 -> Half.bf16ToFloat(data.getShort(i * 2));
      default -> longAt(i);
    };
  }
}
