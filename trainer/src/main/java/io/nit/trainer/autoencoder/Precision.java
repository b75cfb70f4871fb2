package io.nit.trainer.autoencoder;

import io.nit.core.tensor.DType;
import java.util.Locale;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * The type that a network's activations have. Norms and attention are in single precision always.
 */
public enum Precision {
  /** Single precision. */
  F32(ScalarType.Float, DType.F32),
  /** Eight bits of exponent as in single precision, eight of significand. */
  BF16(ScalarType.BFloat16, DType.BF16),
  /** Half precision, whose largest number is 65504. */
  F16(ScalarType.Half, DType.F16);

  /** Why {@link #F16} is never chosen unasked. */
  public static final String F16_REASON =
      "activations of a DC-AE pass 65504, the largest number of half precision, and then turn into"
          + " infinity and NaN";

  private static final Logger LOG = LoggerFactory.getLogger(Precision.class);

  private final ScalarType scalarType;
  private final DType dtype;

  Precision(ScalarType scalarType, DType dtype) {
    this.scalarType = scalarType;
    this.dtype = dtype;
  }

  /**
   * The precision of a flag's spelling. {@code f16} is taken with a warning, and never by {@code
   * auto}.
   *
   * @param name {@code auto} (bf16 on CUDA, f32 elsewhere), {@code f32}, {@code bf16} or {@code
   *     f16}
   * @param device where the network computes
   * @throws IllegalArgumentException if the spelling is unknown
   */
  public static Precision parse(String name, Device device) {
    return switch (name.toLowerCase(Locale.ROOT)) {
      case "auto" -> device.is_cuda() ? BF16 : F32;
      case "f32" -> F32;
      case "bf16" -> BF16;
      case "f16" -> {
        LOG.warn("precision: f16, as asked for; {}; bf16 does not", F16_REASON);
        yield F16;
      }
      default ->
          throw new IllegalArgumentException(
              "expected a precision of auto, f32, bf16, f16; found '" + name + "'");
    };
  }

  /** libtorch's name. */
  public ScalarType scalarType() {
    return scalarType;
  }

  /** The name in files. */
  public DType dtype() {
    return dtype;
  }

  /** The precision of a tensor's type. */
  static Precision of(ScalarType type) {
    for (Precision precision : values()) {
      if (precision.scalarType == type.intern()) {
        return precision;
      }
    }
    throw new IllegalArgumentException(
        "expected a tensor of float32, bfloat16 or float16, found " + type);
  }
}
