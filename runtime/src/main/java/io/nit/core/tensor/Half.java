package io.nit.core.tensor;

/**
 * Conversions between single precision and the two 16-bit floats, rounding to nearest even (Java 17
 * has none).
 */
public final class Half {
  private Half() {}

  /** bfloat16 bits to float; exact. */
  public static float bf16ToFloat(short bits) {
    return Float.intBitsToFloat(bits << 16);
  }

  /** float to bfloat16 bits; NaN stays a quiet NaN, too large becomes infinity. */
  public static short floatToBf16(float value) {
    int bits = Float.floatToRawIntBits(value);
    if (value != value) {
      return (short) (bits >>> 16 | 0x40);
    }
    return (short) (bits + 0x7fff + (bits >>> 16 & 1) >>> 16);
  }

  /** IEEE half bits to float; exact. */
  public static float fp16ToFloat(short bits) {
    int sign = (bits & 0x8000) << 16;
    int exponent = bits >>> 10 & 0x1f;
    int mantissa = bits & 0x3ff;
    if (exponent == 0x1f) {
      return Float.intBitsToFloat(sign | 0x7f800000 | mantissa << 13);
    }
    if (exponent == 0) {
      float magnitude = mantissa * 0x1p-24f; // a subnormal half is a normal float
      return sign == 0 ? magnitude : -magnitude;
    }
    return Float.intBitsToFloat(sign | exponent + 112 << 23 | mantissa << 13);
  }

  /**
   * float to IEEE half bits; NaN stays a quiet NaN, above 65504 rounds to infinity from 65520 on.
   */
  public static short floatToFp16(float value) {
    int bits = Float.floatToRawIntBits(value);
    int sign = bits >>> 16 & 0x8000;
    int magnitude = bits & 0x7fffffff;
    if (magnitude > 0x7f800000) {
      return (short) (sign | 0x7e00 | magnitude >>> 13 & 0x3ff);
    }
    if (magnitude >= 0x477ff000) { // 65520 and above
      return (short) (sign | 0x7c00);
    }
    if (magnitude >= 0x38800000) { // 2^-14: normal halves
      int rounded = magnitude + 0xfff + (magnitude >>> 13 & 1);
      return (short) (sign | rounded - (112 << 23) >>> 13);
    }
    // Adding 0.5 leaves the subnormal's 24 fraction bits in place and rounds to nearest even.
    float shifted = Float.intBitsToFloat(magnitude) + 0.5f;
    return (short) (sign | Float.floatToRawIntBits(shifted) - Float.floatToRawIntBits(0.5f));
  }
}
