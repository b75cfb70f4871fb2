package io.nit.runtime.engine;

import io.nit.core.codec.CodecException;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.DecodedImage;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.LatentSize;
import io.nit.core.io.Closing;
import java.io.IOException;
import java.util.List;
import java.util.Optional;

/** A codec that decodes on one backend and encodes on another, which is opened when needed. */
final class SplitCodec implements LatentCodec {
  /** Opens the codec that encodes. */
  @FunctionalInterface
  interface Opening {
    LatentCodec open() throws IOException, EngineException;
  }

  private final LatentCodec decoder;
  private final Opening opening;
  private Optional<LatentCodec> encoder = Optional.empty(); // guarded by this
  private boolean closed; // guarded by this

  SplitCodec(LatentCodec decoder, Opening opening) {
    this.decoder = decoder;
    this.opening = opening;
  }

  private synchronized LatentCodec encoder() {
    if (closed) {
      throw new IllegalStateException("SplitCodec: used after close");
    }
    if (encoder.isEmpty()) {
      try {
        encoder = Optional.of(opening.open());
      } catch (IOException | EngineException e) {
        throw new CodecException(
            "the autoencoder's encoder cannot be opened: " + e.getMessage(), e);
      }
    }
    return encoder.get();
  }

  @Override
  public CodecSpec spec() {
    return decoder.spec();
  }

  @Override
  public float[] encode(float[] rgb, int height, int width) {
    return encoder().encode(rgb, height, width);
  }

  @Override
  public List<float[]> encodeBatch(List<float[]> rgb, int height, int width) {
    return encoder().encodeBatch(rgb, height, width);
  }

  @Override
  public float[] decode(float[] latent, int latentH, int latentW) {
    return decoder.decode(latent, latentH, latentW);
  }

  @Override
  public List<Decoded> decodeBatch(List<float[]> latents, int latentH, int latentW) {
    return decoder.decodeBatch(latents, latentH, latentW);
  }

  @Override
  public List<DecodedImage> decodeImages(List<float[]> latents, int latentH, int latentW) {
    return decoder.decodeImages(latents, latentH, latentW);
  }

  @Override
  public int decodeBatchLimit(int latentH, int latentW) {
    return decoder.decodeBatchLimit(latentH, latentW);
  }

  /** {@inheritDoc} Only decodes are made ready. */
  @Override
  public int warmUp(List<LatentSize> sizes) {
    return decoder.warmUp(sizes);
  }

  @Override
  public void close() {
    Closing.all(decoder::close, this::closeEncoder);
  }

  private void closeEncoder() {
    Optional<LatentCodec> opened;
    synchronized (this) {
      closed = true;
      opened = encoder;
    }
    opened.ifPresent(LatentCodec::close);
  }
}
