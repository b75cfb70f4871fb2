package io.nit.runtime.ort;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LearnedCodec;
import io.nit.core.codec.PixelBudget;
import io.nit.core.config.DcAeConfig;
import io.nit.core.io.Closing;
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
public final class OrtAutoencoder extends LearnedCodec {
  private static final Logger LOG = LoggerFactory.getLogger(OrtAutoencoder.class);
  private static final String LATENT = "latent";
  private static final String RGB = "rgb";

  private final Path folder;
  private final EngineOptions options;
  private final OrtDevice device;
  private final Network decoder;
  private final Optional<Network> decoderF32;
  private final Optional<Network> encoder;
  private final DirectBuffers buffers = new DirectBuffers(); // guarded by this
  private final Object runLock = new Object();
  private OrtSession.RunOptions running; // guarded by runLock

  private OrtAutoencoder(Bundle bundle, DcAeSpec spec, EngineOptions options, OrtDevice device)
      throws IOException, EngineException {
    // One picture at a time by default: the work on a batch is divided in another way, which shows
    // in a picture's last bits.
    super(
        spec,
        options.decode().tiling(),
        new PixelBudget(options.decode().batchPixels()),
        Integer.MAX_VALUE,
        bundle.autoencoder().orElseThrow().decoderF32().isPresent());
    AutoencoderFiles files = bundle.autoencoder().orElseThrow();
    this.folder = bundle.folder();
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
                        channels()));
    for (String name : files.names()) {
      if (!Files.isRegularFile(bundle.file(name))) {
        throw new NoSuchFileException(
            bundle.file(name).toString(), null, "no such file of the autoencoder");
      }
    }
    decoder.open();
  }

  private Network decoder(Bundle bundle, String name, DType compute) {
    return new Network(
        "decoder in " + compute,
        bundle.file(name),
        LATENT,
        channels(),
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
                  settings.setMemoryPatternOptimization(false);
                  // Decoding runs beside sampling on the same cores: a thread that spins while it
                  // waits would take its time from there.
                  settings.addConfigEntry("session.intra_op.allow_spinning", "0");
                  device.apply(settings, options, OrtDevice.Memory.RETURNED);
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
  protected List<float[]> decodeRaw(List<float[]> latents, int h, int w, boolean single) {
    Network network = single ? decoderF32.orElseThrow() : decoder;
    return run(network, latents, h, w, h * factor(), w * factor());
  }

  @Override
  protected List<float[]> encodeRaw(List<float[]> rgb, int height, int width) {
    Network network = encoder.orElseThrow();
    return run(network, rgb, height, width, height / factor(), width / factor());
  }

  @Override
  protected void requireEncoder() {
    if (encoder.isEmpty()) {
      throw new UnsupportedOperationException(
          folder + ": expected an encoder to make latents with, found a decoder alone");
    }
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
    } catch (OrtException e) {
      requireOpen(); // closing is what ended it
      throw failure(network.kind, count, h, w, new EngineException(OrtSessions.reason(e), e));
    } catch (EngineException | IOException e) {
      requireOpen();
      throw failure(network.kind, count, h, w, e);
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
      OrtSession.RunOptions run = new OrtSession.RunOptions();
      try {
        device.apply(run, options, OrtDevice.Memory.RETURNED);
      } catch (OrtException e) {
        run.close();
        throw e;
      }
      running = run;
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

  @Override
  public void close() {
    super.close();
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
      Closing.all(
          decoder::close,
          () -> decoderF32.ifPresent(Network::close),
          () -> encoder.ifPresent(Network::close));
    }
  }
}
