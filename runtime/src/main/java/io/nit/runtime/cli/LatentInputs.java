package io.nit.runtime.cli;

import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Tokens;
import io.nit.core.config.NitConfig;
import io.nit.core.io.Sha256;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.runtime.ImageRequest;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;

/**
 * Latents as a safetensors file holds them, of any float type, in one of two ways: a tensor {@code
 * [C, h, w]} each, named by its id; or what {@code sample-latents} writes, {@code latents [tokens,
 * C, p, p]} and {@code hw_list [B, 2]} (h first, in tokens), with the ids 0, 1, 2, ...
 */
final class LatentInputs {
  private static final String PACK = "latents";

  private LatentInputs() {}

  /** Reads a latent's values, [C, h, w]. */
  @FunctionalInterface
  interface Values {
    float[] get() throws IOException;
  }

  /**
   * A latent of a file.
   *
   * @param id its name
   * @param h latent pixels
   * @param w latent pixels
   * @param values read when they are asked for
   */
  record Latent(String id, int h, int w, Values values) {
    /** A hash of size and values, by which a picture tells what it was made from. */
    static String hash(int h, int w, float[] values) {
      String digits = Sha256.of(HostTensor.of("latent", values, values.length).bytes());
      return digits.substring(0, 32) + "-" + w + "x" + h;
    }
  }

  /**
   * The latents of a file, in its order; each is checked against the codec.
   *
   * @throws IllegalArgumentException naming the tensor that does not fit
   * @throws IOException if the file cannot be read
   */
  static List<Latent> of(TensorSource file, CodecSpec codec, NitConfig config) throws IOException {
    boolean packed = file.has(PACK) && file.specs().get(PACK).shape().rank() == 4;
    List<Latent> latents = packed ? pack(file, config) : byId(file, codec);
    if (latents.isEmpty()) {
      throw new IllegalArgumentException(file.where() + ": expected latents, found no tensors");
    }
    return latents;
  }

  private static List<Latent> byId(TensorSource file, CodecSpec codec) throws IOException {
    List<Latent> latents = new ArrayList<>();
    for (String name : file.specs().keySet()) {
      Shape shape = file.specs().get(name).shape();
      boolean fits = shape.rank() == 3 && shape.dim(0) == codec.channels();
      if (!fits || shape.elements() == 0 || shape.elements() > Integer.MAX_VALUE - 8) {
        throw new IllegalArgumentException(
            file.where()
                + ": "
                + name
                + ": expected a latent ["
                + codec.channels()
                + ", h, w], found "
                + shape);
      }
      if (!file.specs().get(name).dtype().isFloat()) {
        throw new IllegalArgumentException(
            file.where()
                + ": "
                + name
                + ": expected a float type, found "
                + file.specs().get(name).dtype());
      }
      try {
        ImageRequest.checkId(name);
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(file.where() + ": " + e.getMessage(), e);
      }
      latents.add(
          new Latent(
              name,
              Math.toIntExact(shape.dim(1)),
              Math.toIntExact(shape.dim(2)),
              () -> file.tensor(name).toFloats()));
    }
    return latents;
  }

  private static List<Latent> pack(TensorSource file, NitConfig config) throws IOException {
    PackLayout layout = PackInputs.layout(file);
    HostTensor tokens = PackInputs.floats(file, PACK, PackInputs.tokenShape(layout, config));
    int patch = config.patchSize();
    List<Latent> latents = new ArrayList<>();
    double[] values = tokens.toDoubles();
    for (int i = 0; i < layout.images(); i++) {
      int from = layout.start(i) * config.tokenSize();
      int h = layout.h(i);
      int w = layout.w(i);
      latents.add(
          new Latent(
              Integer.toString(i),
              h * patch,
              w * patch,
              () -> Tokens.unpatchify(values, from, config.inChannels(), h, w, patch)));
    }
    return latents;
  }
}
