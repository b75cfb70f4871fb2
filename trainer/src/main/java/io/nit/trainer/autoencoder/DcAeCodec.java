package io.nit.trainer.autoencoder;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.Decoding;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.PixelBudget;
import io.nit.core.codec.Tiling;
import io.nit.core.config.DcAeConfig;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A DC-AE at work on libtorch. Latents are the encoder's output times the scaling factor; both that
 * product and the quotient before decoding are in float32. Nothing is recorded for autograd.
 *
 * <p>What comes out of bf16 or f16 with NaN or infinity is computed again in float32, with a
 * warning in the log: by the same model where it holds float32 weights, else by one that is opened
 * then, and kept. What is not finite in float32 either is refused.
 *
 * <p>One call at a time works; others wait.
 */
public final class DcAeCodec implements LatentCodec {
  private static final Logger LOG = LoggerFactory.getLogger(DcAeCodec.class);

  /**
   * How much is computed at once.
   *
   * @param tiling how large pictures are decoded
   * @param batch pixels of the pictures that are encoded or decoded together
   */
  public record Limits(Tiling tiling, PixelBudget batch) {
    /** Standard tiling, and together no more than the largest picture that is decoded whole. */
    public static final Limits STANDARD =
        new Limits(Tiling.STANDARD, new PixelBudget(Tiling.STANDARD.maxPixels()));
  }

  /** Opens the autoencoder again, in float32. */
  private interface Reopening {
    DcAe open() throws IOException;
  }

  private final DcAeSpec spec;
  private final DcAe model;
  private final Precision precision;
  private final Limits limits;
  private final Reopening reopening;
  private final Decoding decoding;
  private Optional<DcAe> single = Optional.empty();
  private boolean closed;

  /**
   * A codec over a model of float32 weights, such as one in training.
   *
   * @param model closed by the codec
   * @param spec with the model's config; its scaling factor may be another
   * @param precision what to compute in: {@link Precision#F32} or {@link Precision#BF16}
   * @throws IllegalArgumentException if the precision is another, the weights are no float32, or
   *     the tiles no whole latent pixels
   */
  public DcAeCodec(DcAe model, DcAeSpec spec, Precision precision, Limits limits) {
    this(model, spec, precision, limits, () -> model);
    DcAeConfig scaled = model.config().withScalingFactor(spec.config().scalingFactor());
    if (!scaled.equals(spec.config())) {
      throw new IllegalArgumentException(
          "codec: expected the model's config, found that of another: " + spec.describe());
    }
    if (model.precision() != Precision.F32 || precision == Precision.F16) {
      throw new IllegalArgumentException(
          "codec: expected float32 weights, and float32 or bfloat16 to compute in; found "
              + model.precision()
              + " and "
              + precision);
    }
  }

  private DcAeCodec(
      DcAe model, DcAeSpec spec, Precision precision, Limits limits, Reopening reopening) {
    Decoding.Network single =
        (latents, h, w) -> decodeTogether(single(), Precision.F32, latents, h, w);
    this.decoding =
        new Decoding(
            model.config().factor(),
            limits.tiling(),
            limits.batch(),
            (latents, h, w) -> decodeTogether(model, precision, latents, h, w),
            precision == Precision.F32 ? Optional.empty() : Optional.of(single));
    this.model = model;
    this.spec = spec;
    this.precision = precision;
    this.limits = limits;
    this.reopening = reopening;
  }

  /**
   * Opens a codec over a checkpoint, whose files stay where they are as long as it is open.
   *
   * @param precision what to hold the weights and compute in
   * @return the codec, which the caller closes
   * @throws IllegalArgumentException naming every tensor that does not fit the config, or if the
   *     tiles are no whole latent pixels
   * @throws IOException if the weights are malformed or cannot be read
   */
  public static DcAeCodec open(DcAeFolder folder, Device device, Precision precision, Limits limits)
      throws IOException {
    limits.tiling().require(folder.config().factor());
    DcAeSpec spec = folder.spec();
    DcAe model = DcAe.open(folder, device, precision);
    Reopening reopening =
        precision == Precision.F32
            ? () -> model
            : () -> DcAe.open(folder, model.device(), Precision.F32);
    return new DcAeCodec(model, spec, precision, limits, reopening);
  }

  @Override
  public CodecSpec spec() {
    return spec;
  }

  /** What is computed in, where that is finite. */
  public Precision precision() {
    return precision;
  }

  // ---------------------------------------------------------------- Encoding

  /**
   * {@inheritDoc}
   *
   * @throws ArithmeticException if the latent holds NaN or infinity even when it is computed in
   *     single precision
   */
  @Override
  public float[] encode(float[] rgb, int height, int width) {
    return encodeBatch(List.of(rgb), height, width).get(0);
  }

  @Override
  public synchronized List<float[]> encodeBatch(List<float[]> rgb, int height, int width) {
    requireOpen();
    int f = factor();
    if (height < f || width < f || height % f != 0 || width % f != 0) {
      throw new IllegalArgumentException(
          "image size: expected multiples of " + f + ", found " + width + "x" + height);
    }
    rgb.forEach(picture -> requireLength(picture, (long) DcAeConfig.IN_CHANNELS * height * width));
    List<float[]> latents = new ArrayList<>();
    for (List<float[]> batch : limits.batch().split(rgb, height, width)) {
      for (float[] latent : encodeTogether(model, precision, batch, height, width)) {
        float[] picture = rgb.get(latents.size());
        latents.add(Decoded.finite(latent) ? latent : encodeAgain(picture, height, width));
      }
    }
    return latents;
  }

  private float[] encodeAgain(float[] rgb, int height, int width) {
    if (precision != Precision.F32) {
      LOG.warn(
          "a picture of {}x{} encoded in {} gave NaN or infinity; encoding it again in F32",
          width,
          height,
          precision);
      float[] latent = encodeTogether(single(), Precision.F32, List.of(rgb), height, width).get(0);
      if (Decoded.finite(latent)) {
        return latent;
      }
    }
    throw new ArithmeticException(
        "the latent of a picture of "
            + width
            + "x"
            + height
            + " holds NaN or infinity in single precision too");
  }

  private List<float[]> encodeTogether(
      DcAe network, Precision type, List<float[]> rgb, int height, int width) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor pixels = batch(rgb, DcAeConfig.IN_CHANNELS, height, width);
      Tensor latents = network.encode(pixels.to(type.scalarType())).to(ScalarType.Float);
      return split(latents.mul(new Scalar(spec.config().scalingFactor())));
    }
  }

  // ---------------------------------------------------------------- Decoding

  @Override
  public float[] decode(float[] latent, int latentH, int latentW) {
    return decodeBatch(List.of(latent), latentH, latentW).get(0).rgb();
  }

  @Override
  public synchronized List<Decoded> decodeBatch(List<float[]> latents, int latentH, int latentW) {
    requireOpen();
    if (latentH < 1 || latentW < 1) {
      throw new IllegalArgumentException(
          "latent size: expected 1x1 or more, found " + latentW + "x" + latentH);
    }
    latents.forEach(latent -> requireLength(latent, (long) channels() * latentH * latentW));
    Math.multiplyExact(latentH, factor());
    Math.multiplyExact(latentW, factor());
    return decoding.decode(latents, latentH, latentW);
  }

  private List<float[]> decodeTogether(
      DcAe network, Precision type, List<float[]> latents, int latentH, int latentW) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      Tensor scaled = batch(latents, channels(), latentH, latentW);
      Tensor raw = scaled.div(new Scalar(spec.config().scalingFactor()));
      return split(network.decode(raw.to(type.scalarType())).to(ScalarType.Float));
    }
  }

  // ---------------------------------------------------------------- Both ways

  /** Values of equal size as one tensor, [batch, channels, h, w] float32. */
  private Tensor batch(List<float[]> values, int channels, int h, int w) {
    int each = channels * h * w;
    float[] together = new float[Math.multiplyExact(values.size(), each)];
    for (int i = 0; i < values.size(); i++) {
      System.arraycopy(values.get(i), 0, together, i * each, each);
    }
    return Weights.tensor(together, model.device(), values.size(), channels, h, w);
  }

  private static List<float[]> split(Tensor batch) {
    List<float[]> values = new ArrayList<>();
    for (long i = 0; i < batch.size(0); i++) {
      values.add(Weights.floats(batch.select(0, i)));
    }
    return values;
  }

  private DcAe single() {
    if (single.isEmpty()) {
      try {
        single = Optional.of(reopening.open());
      } catch (IOException e) {
        throw new UncheckedIOException("the autoencoder could not be opened again in F32", e);
      }
    }
    return single.get();
  }

  private static void requireLength(float[] values, long expected) {
    if (values.length != expected) {
      throw new IllegalArgumentException(
          "expected " + expected + " values, found " + values.length);
    }
  }

  private void requireOpen() {
    if (closed) {
      throw new IllegalStateException("DcAeCodec is closed");
    }
  }

  /** Frees the weights. */
  @Override
  public synchronized void close() {
    if (!closed) {
      closed = true;
      single.ifPresent(DcAe::close);
      model.close();
    }
  }
}
