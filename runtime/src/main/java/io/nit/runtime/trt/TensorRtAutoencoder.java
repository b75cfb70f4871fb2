package io.nit.runtime.trt;

import io.nit.core.bundle.EngineSubject;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LatentSize;
import io.nit.core.codec.LearnedCodec;
import io.nit.core.codec.PixelBudget;
import io.nit.core.codec.Tiling;
import io.nit.core.config.DcAeConfig;
import io.nit.core.image.RgbImage;
import io.nit.core.io.Closing;
import io.nit.core.trt.TensorRt;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import java.io.IOException;
import java.util.List;
import java.util.Optional;
import java.util.stream.Collectors;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A DC-AE in TensorRT. The decoder is opened at once, the encoder and a decoder in single precision
 * when they are first needed. Each has a stream of its own, so that decoding runs beside sampling.
 *
 * <p>Pictures that no profile of the decoder holds are decoded in tiles, of the size that is asked
 * for where a profile holds them with their margins, else of the largest that one holds. Calls from
 * several threads run one after the other; closing waits for the one that runs.
 */
public final class TensorRtAutoencoder extends LearnedCodec {
  private static final Logger LOG = LoggerFactory.getLogger(TensorRtAutoencoder.class);

  private final Optional<Half> decoder;
  private final Optional<Half> decoderF32;
  private final Optional<Half> encoder;
  private float decodeMillis = Float.NaN; // guarded by this

  /**
   * The plans of an autoencoder.
   *
   * @param decoder the decoder's; may be absent where only latents are made
   * @param decoderF32 a decoder in single precision for pictures that {@code decoder} overflows on;
   *     absent where that is one already, or there is none
   * @param encoder the encoder's; absent where only pictures are made
   */
  record Plans(
      Optional<CheckedPlan> decoder,
      Optional<CheckedPlan> decoderF32,
      Optional<CheckedPlan> encoder) {}

  /** A plan, and the network once it is open. */
  private static final class Half {
    private final CheckedPlan plan;
    private final EngineSubject.Autoencoder subject;
    private TensorRtPlanes planes; // guarded by the codec

    Half(CheckedPlan plan, DcAeSpec spec) throws EngineException {
      this.plan = plan;
      if (!(plan.manifest().subject() instanceof EngineSubject.Autoencoder half)
          || !half.config().equals(spec.config())) {
        throw new EngineException(
            plan.file()
                + ": expected a half of "
                + spec.describe()
                + ", found another network's engine");
      }
      this.subject = half;
    }

    /** The most pixels of a side. */
    int mostSide() {
      return subject.profiles().stream()
          .mapToInt(EngineSubject.PictureProfile::side)
          .max()
          .orElseThrow();
    }

    TensorRtPlanes open() throws IOException, EngineException {
      if (planes == null) {
        int f = subject.config().factor();
        int c = subject.config().latentChannels();
        TensorRtPlanes.Ports ports =
            switch (subject.part()) {
              case ENCODER ->
                  new TensorRtPlanes.Ports("rgb", DcAeConfig.IN_CHANNELS, "latent", c, 1, f);
              default -> new TensorRtPlanes.Ports("latent", c, "rgb", DcAeConfig.IN_CHANNELS, f, 1);
            };
        planes = open(ports);
        LOG.info(
            "autoencoder's {}: {}, TensorRT {}, device {}, {}, pictures {}",
            subject.part().key(),
            plan.file().getFileName(),
            TensorRt.version(),
            plan.device(),
            plan.manifest().precision(),
            subject.sizes());
      }
      return planes;
    }

    private TensorRtPlanes open(TensorRtPlanes.Ports ports) throws IOException, EngineException {
      TensorRtPlanes opened =
          plan.opened(
              () ->
                  TensorRtPlanes.open(
                      plan.file(), plan.manifest().planBytes(), ports, plan.device()));
      try {
        // A half takes and gives single precision whatever it computes in.
        plan.require(
            Optional.empty(),
            new EngineSubject.Autoencoder(subject.part(), subject.config(), opened.sizes()));
        return opened;
      } catch (EngineException | RuntimeException | Error e) {
        opened.close();
        throw e;
      }
    }

    void close() {
      if (planes != null) {
        planes.close();
      }
    }
  }

  private TensorRtAutoencoder(
      DcAeSpec spec,
      Optional<Half> decoder,
      Optional<Half> decoderF32,
      Optional<Half> encoder,
      EngineOptions options,
      Tiling tiling,
      int mostSide) {
    super(
        spec,
        tiling,
        new PixelBudget(options.decode().batchPixels()),
        mostSide,
        decoderF32.isPresent());
    this.decoder = decoder;
    this.decoderF32 = decoderF32;
    this.encoder = encoder;
  }

  /**
   * Opens plans that fit this machine.
   *
   * @param plans the plans, all for the GPU of {@code options}
   * @param spec the autoencoder
   * @param options the GPU and how to decode
   * @return the codec, which the caller closes
   * @throws IllegalArgumentException if tiles are no multiples of the autoencoder's factor
   * @throws IOException if the decoder's plan cannot be read
   * @throws EngineException if TensorRT is not there, a plan is of another autoencoder, or TensorRT
   *     does not take the decoder
   */
  static TensorRtAutoencoder open(Plans plans, DcAeSpec spec, EngineOptions options)
      throws IOException, EngineException {
    Optional<String> refusal = TensorRt.refusal(options.device());
    if (refusal.isPresent()) {
      throw new EngineException("TensorRT cannot run an autoencoder: " + refusal.get());
    }
    Optional<Half> decoder = half(plans.decoder, spec);
    Optional<Half> single = half(plans.decoderF32, spec);
    int mostSide = decoder.map(Half::mostSide).orElse(Integer.MAX_VALUE);
    if (single.isPresent()) {
      mostSide = Math.min(mostSide, single.get().mostSide());
    }
    Tiling asked = options.decode().tiling().require(spec.factor());
    Tiling tiling = asked.within(mostSide, spec.factor());
    if (!tiling.equals(asked)) {
      LOG.info(
          "the decoder's engine holds pictures of up to {} pixels a side; larger ones are decoded"
              + " in tiles of {} pixels, {} apart with a margin of {}, not {}",
          mostSide,
          tiling.tile(),
          tiling.stride(),
          tiling.margin(),
          asked.tile());
    }
    TensorRtAutoencoder codec =
        new TensorRtAutoencoder(
            spec, decoder, single, half(plans.encoder, spec), options, tiling, mostSide);
    try {
      if (decoder.isPresent()) {
        decoder.get().open();
      }
      return codec;
    } catch (IOException | EngineException | RuntimeException | Error e) {
      codec.close();
      throw e;
    }
  }

  private static Optional<Half> half(Optional<CheckedPlan> plan, DcAeSpec spec)
      throws EngineException {
    return plan.isPresent() ? Optional.of(new Half(plan.get(), spec)) : Optional.empty();
  }

  /**
   * Milliseconds that the device took for the last decode of a picture or tile, without the copies
   * from and to the host; NaN before the first.
   */
  public synchronized float decodeMillis() {
    return decodeMillis;
  }

  @Override
  protected List<float[]> decodeRaw(List<float[]> latents, int h, int w, boolean single) {
    return run(decoder(single), latents, h, w, TensorRtPlanes::run);
  }

  /** {@inheritDoc} The bytes are made where the device's copy lies, while nothing else runs. */
  @Override
  protected List<Optional<RgbImage>> decodeImagesRaw(List<float[]> latents, int h, int w) {
    int f = factor();
    return run(
        decoder(false),
        latents,
        h,
        w,
        (planes, some, high, wide) ->
            planes.run(some, high, wide, rgb -> RgbImage.ofFinitePlanes(rgb, high * f, wide * f)));
  }

  private Half decoder(boolean single) {
    return (single ? decoderF32 : decoder)
        .orElseThrow(
            () ->
                new UnsupportedOperationException(
                    "expected a decoder's engine to make pictures with, found an encoder's"));
  }

  @Override
  protected List<float[]> encodeRaw(List<float[]> rgb, int height, int width) {
    return run(encoder.orElseThrow(), rgb, height, width, TensorRtPlanes::run);
  }

  /** What is run on an open network. */
  private interface Run<T> {
    List<T> on(TensorRtPlanes planes, List<float[]> values, int h, int w) throws EngineException;
  }

  private synchronized <T> List<T> run(Half half, List<float[]> values, int h, int w, Run<T> run) {
    requireOpen();
    try {
      TensorRtPlanes planes = half.open();
      List<T> results = run.on(planes, values, h, w);
      if (half != encoder.orElse(null)) {
        decodeMillis = planes.deviceMillis();
      }
      return results;
    } catch (EngineException | IOException e) {
      throw failure(half.subject.part().key(), values.size(), h, w, e);
    }
  }

  /** {@inheritDoc} What is small is the largest picture of the smallest profile. */
  @Override
  protected synchronized int warmUpRaw(List<LatentSize> runs) {
    requireOpen();
    if (decoder.isEmpty()) {
      return 0;
    }
    List<LatentSize> wanted = runs;
    try {
      TensorRtPlanes planes = decoder.get().open();
      wanted = runs.isEmpty() ? List.of(planes.smallest()) : runs;
      planes.warmUp(wanted);
      return wanted.size();
    } catch (EngineException | IOException e) {
      throw new CodecException(
          "the autoencoder's decoder cannot be made ready for latents of "
              + wanted.stream()
                  .map(size -> size.w() + "x" + size.h())
                  .collect(Collectors.joining(", "))
              + ": "
              + e.getMessage(),
          e);
    }
  }

  @Override
  protected void requireEncoder() {
    if (encoder.isEmpty()) {
      throw new UnsupportedOperationException(
          "expected an encoder's engine to make latents with, found a decoder's alone; nit-export"
              + " engine --parts encoder builds one");
    }
  }

  @Override
  public void close() {
    super.close();
    synchronized (this) {
      Closing.all(
          () -> decoder.ifPresent(Half::close),
          () -> decoderF32.ifPresent(Half::close),
          () -> encoder.ifPresent(Half::close));
    }
  }
}
