package io.nit.runtime.ort;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecException;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.Decoding;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.PixelBudget;
import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.DType;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.atomic.AtomicBoolean;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A bundle's DC-AE in ONNX Runtime. The decoder is loaded at once, the encoder and the decoder in
 * single precision when they are first needed. Large pictures are decoded in tiles.
 *
 * <p>A picture that comes out with NaN or infinity is decoded again in single precision, where the
 * decoder computes in less. Calls from several threads run one after the other; closing stops the
 * one that runs.
 */
public final class OrtAutoencoder implements LatentCodec {
  private static final Logger LOG = LoggerFactory.getLogger(OrtAutoencoder.class);
  private static final String LATENT = "latent";
  private static final String RGB = "rgb";

  private final Path folder;
  private final DcAeSpec spec;
  private final float scalingFactor;
  private final EngineOptions options;
  private final OrtDevice device;
  private final Network decoder;
  private final Optional<Network> decoderF32;
  private final Optional<Network> encoder;
  private final PixelBudget budget;
  private final Decoding decoding;
  private final DirectBuffers buffers = new DirectBuffers(); // guarded by this
  private final AtomicBoolean closed = new AtomicBoolean();
  private final Object runLock = new Object();
  private OrtSession.RunOptions running; // guarded by runLock

  private OrtAutoencoder(Bundle bundle, DcAeSpec spec, EngineOptions options, OrtDevice device)
      throws IOException, EngineException {
    AutoencoderFiles files = bundle.autoencoder().orElseThrow();
    this.folder = bundle.folder();
    this.spec = spec;
    this.scalingFactor = (float) spec.config().scalingFactor();
    this.options = options;
    this.device = device;
    this.decoder = decoder(bundle, files.decoder(), files.compute());
    this.decoderF32 = files.decoderF32().map(name -> decoder(bundle, name, DType.F32));
    this.encoder =
        files
            .encoder()
            .map(
                name ->
                    new Network(
                        "encoder",
                        bundle.file(name),
                        RGB,
                        DcAeConfig.IN_CHANNELS,
                        LATENT,
                        spec.channels()));
    // One picture at a time by default: the work on a batch is divided in another way, which shows
    // in a picture's last bits.
    this.budget = new PixelBudget(options.decode().batchPixels());
    this.decoding =
        new Decoding(
            spec.factor(),
            options.decode().tiling(),
            budget,
            decodingBy(decoder),
            decoderF32.map(this::decodingBy));
    for (String name : files.names()) {
      if (!Files.isRegularFile(bundle.file(name))) {
        throw new NoSuchFileException(
            bundle.file(name).toString(), null, "no such file of the autoencoder");
      }
    }
    decoder.open();
  }

  private Decoding.Network decodingBy(Network network) {
    return (latents, h, w) -> {
      List<float[]> unscaled = latents.stream().map(this::unscaled).toList();
      return run(network, unscaled, h, w, h * spec.factor(), w * spec.factor());
    };
  }

  private Network decoder(Bundle bundle, String name, DType compute) {
    return new Network(
        "decoder in " + compute,
        bundle.file(name),
        LATENT,
        spec.channels(),
        RGB,
        DcAeConfig.IN_CHANNELS);
  }

  /**
   * Loads a bundle's autoencoder.
   *
   * @param options threads and how to decode
   * @param device what to compute on
   * @return the codec, which the caller closes
   * @throws IllegalArgumentException if tiles are no multiples of the autoencoder's factor
   * @throws NoSuchFileException if one of its files is not there
   * @throws EngineException if the bundle's codec is no DC-AE, ONNX Runtime does not take the
   *     decoder, or the decoder's input or output differs from the config
   */
  static OrtAutoencoder open(Bundle bundle, EngineOptions options, OrtDevice device)
      throws IOException, EngineException {
    if (bundle.codec().orElse(null) instanceof DcAeSpec spec && bundle.autoencoder().isPresent()) {
      return new OrtAutoencoder(bundle, spec, options, device);
    }
    throw new EngineException(
        bundle.folder()
            + ": expected a "
            + DcAeSpec.TYPE
            + " codec, found "
            + bundle.codec().map(CodecSpec::describe).orElse("none"));
  }

  /** A model file between planes, [batch, from, h, w] to [batch, to, h', w']. */
  private final class Network {
    private final String kind;
    private final Path file;
    private final String from;
    private final int fromChannels;
    private final String to;
    private final int toChannels;
    private OrtSession session;

    Network(String kind, Path file, String from, int fromChannels, String to, int toChannels) {
      this.kind = kind;
      this.file = file;
      this.from = from;
      this.fromChannels = fromChannels;
      this.to = to;
      this.toChannels = toChannels;
    }

    OrtSession open() throws IOException, EngineException {
      if (session == null) {
        long start = System.nanoTime();
        session =
            OrtSessions.open(
                file,
                options,
                settings -> {
                  // An arena would keep the largest picture's planes, gigabytes of them, for as
                  // long as the session lives. Without one they go back to the system as soon as
                  // they are done with.
                  settings.setCPUArenaAllocator(false);
                  settings.setMemoryPatternOptimization(false);
                  // Decoding runs beside sampling on the same cores: a thread that spins while it
                  // waits would take its time from there.
                  settings.addConfigEntry("session.intra_op.allow_spinning", "0");
                  device.apply(settings, options);
                },
                opened ->
                    ModelSignature.checkPlanes(opened, from, fromChannels, to, toChannels, file));
        LOG.info(
            "autoencoder's {}: {} in {} ms, {}",
            kind,
            file.getFileName(),
            (System.nanoTime() - start) / 1_000_000,
            device.describe(options));
      }
      return session;
    }

    void close() {
      OrtSession open = session;
      session = null;
      OrtSessions.close(open);
    }
  }

  @Override
  public CodecSpec spec() {
    return spec;
  }

  @Override
  public float[] encode(float[] rgb, int height, int width) {
    return encodeBatch(List.of(rgb), height, width).get(0);
  }

  @Override
  public List<float[]> encodeBatch(List<float[]> rgb, int height, int width) {
    requireOpen();
    Network network =
        encoder.orElseThrow(
            () ->
                new UnsupportedOperationException(
                    folder + ": expected an encoder to make latents with, found a decoder alone"));
    int f = factor();
    if (height < f || width < f || height % f != 0 || width % f != 0) {
      throw new IllegalArgumentException(
          "image size: expected multiples of " + f + ", found " + width + "x" + height);
    }
    rgb.forEach(picture -> checkLength(picture, DcAeConfig.IN_CHANNELS, height, width));
    List<float[]> latents = new ArrayList<>();
    for (List<float[]> some : budget.split(rgb, height, width)) {
      latents.addAll(run(network, some, height, width, height / f, width / f));
    }
    for (float[] latent : latents) {
      for (int i = 0; i < latent.length; i++) {
        latent[i] *= scalingFactor;
      }
    }
    return latents;
  }

  @Override
  public float[] decode(float[] latent, int latentH, int latentW) {
    return decodeBatch(List.of(latent), latentH, latentW).get(0).rgb();
  }

  @Override
  public int decodeBatchLimit(int latentH, int latentW) {
    return decoding.limit(latentH, latentW);
  }

  @Override
  public List<Decoded> decodeBatch(List<float[]> latents, int latentH, int latentW) {
    requireOpen();
    checkSize(latentH, latentW);
    latents.forEach(latent -> checkLength(latent, channels(), latentH, latentW));
    return decoding.decode(latents, latentH, latentW);
  }

  /** Runs a network over pictures or latents of one size; one run at a time. */
  private synchronized List<float[]> run(
      Network network, List<float[]> values, int h, int w, int outH, int outW) {
    requireOpen();
    int count = values.size();
    int outSize = network.toChannels * outH * outW;
    FloatBuffer in = floats(network.from, (long) count * values.get(0).length);
    values.forEach(in::put);
    FloatBuffer out = floats(network.to, (long) count * outSize);
    OrtEnvironment environment = OrtNative.environment();
    long[] inShape = {count, network.fromChannels, h, w};
    long[] outShape = {count, network.toChannels, outH, outW};
    try (OnnxTensor from = OnnxTensor.createTensor(environment, in.flip(), inShape);
        OnnxTensor to = OnnxTensor.createTensor(environment, out, outShape)) {
      OrtSession session = network.open();
      OrtSession.RunOptions run = begin();
      try {
        session.run(Map.of(network.from, from), Set.of(), Map.of(network.to, to), run).close();
      } finally {
        end();
      }
    } catch (OrtException | EngineException | IOException e) {
      requireOpen(); // closing is what ended it
      throw new CodecException(
          "the autoencoder's "
              + network.kind
              + " failed on "
              + count
              + " of "
              + w
              + "x"
              + h
              + ": "
              + e.getMessage(),
          e);
    }
    List<float[]> results = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      float[] result = new float[outSize];
      out.get(i * outSize, result);
      results.add(result);
    }
    return results;
  }

  /** Options by which {@link #close} stops the run. */
  private OrtSession.RunOptions begin() throws OrtException {
    synchronized (runLock) {
      requireOpen();
      running = new OrtSession.RunOptions();
      return running;
    }
  }

  private void end() {
    synchronized (runLock) {
      running.close();
      running = null;
    }
  }

  private FloatBuffer floats(String name, long count) {
    if (count * Float.BYTES > Integer.MAX_VALUE) {
      throw new IllegalArgumentException(
          name
              + ": expected at most "
              + Integer.MAX_VALUE / Float.BYTES
              + " values in one run, found "
              + count
              + "; decode in tiles");
    }
    return buffers.get(name, (int) count * Float.BYTES).asFloatBuffer();
  }

  private float[] unscaled(float[] latent) {
    float[] values = new float[latent.length];
    for (int i = 0; i < values.length; i++) {
      values[i] = latent[i] / scalingFactor;
    }
    return values;
  }

  private void checkSize(int latentH, int latentW) {
    long most = (Integer.MAX_VALUE - 8) / DcAeConfig.IN_CHANNELS; // an array of planes
    long pixels = (long) latentH * factor() * latentW * factor();
    if (latentH < 1 || latentW < 1 || pixels > most) {
      throw new IllegalArgumentException(
          "latent size: expected 1x1 or more and at most "
              + most
              + " pixels, found "
              + latentW
              + "x"
              + latentH
              + " at "
              + factor()
              + " pixels a side");
    }
  }

  private static void checkLength(float[] values, int channels, int h, int w) {
    long expected = (long) channels * h * w;
    if (values.length != expected) {
      throw new IllegalArgumentException(
          "expected "
              + expected
              + " values, ["
              + channels
              + ", "
              + h
              + ", "
              + w
              + "]; found "
              + values.length);
    }
  }

  private void requireOpen() {
    if (closed.get()) {
      throw new IllegalStateException("OrtAutoencoder: used after close");
    }
  }

  @Override
  public void close() {
    closed.set(true);
    synchronized (runLock) {
      if (running != null) {
        try {
          running.setTerminate(true);
        } catch (OrtException e) {
          LOG.debug("the run in progress is waited for, as it does not stop", e);
        }
      }
    }
    synchronized (this) {
      decoder.close();
      decoderF32.ifPresent(Network::close);
      encoder.ifPresent(Network::close);
    }
  }
}
