package io.nit.exporter.verify;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.LatentCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.safetensors.TensorView;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.HostTensor;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ref.DcAeForward;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Compares an exported autoencoder with the plain Java reference forward: pictures through the
 * encoder, latents through every decoder. Errors are the largest difference over the spread of what
 * the reference gives.
 *
 * <p>Against the weights as they are stored, what computes in single precision has one bound for
 * all types, and a decoder in half precision its own; what the rounding of 16-bit weights costs is
 * reported beside it, without a bound.
 */
public final class AutoencoderVerifier {
  /** Largest error of single precision. */
  public static final double BOUND = 5e-5;

  /** Largest error of a decoder in half precision: one that is off by more is of no use. */
  public static final double HALF_BOUND = 0.1;

  private static final long SEED = 20250604;
  private static final long LARGE = 20_000_000;

  private AutoencoderVerifier() {}

  /** A picture's size in latent pixels, and the two inputs of that size. */
  private record Sample(int h, int w, float[] rgb, float[] latent) {}

  /** What a file gave for a sample. */
  private record Found(String file, boolean encoder, Sample sample, float[] values, double bound) {}

  /**
   * Runs every file, and the reference.
   *
   * @param folder where the files lie
   * @param spec the autoencoder
   * @param files the files' names and types
   * @param checkpoint the weights that they were made from
   * @param goOn asked before each file's run and each layer of the reference; what it throws ends
   *     the work
   * @return one entry a file and size, two for 16-bit weights
   * @throws EngineException if a file does not load or run
   * @throws IOException if a file cannot be read
   */
  public static List<Verification> verify(
      Path folder, DcAeSpec spec, AutoencoderFiles files, TensorSource checkpoint, Runnable goOn)
      throws IOException, EngineException {
    TensorSource weights = new WatchedWeights(checkpoint, goOn);
    List<Sample> samples = samples(spec);
    List<Found> found = new ArrayList<>();
    try (LatentCodec codec = open(folder, spec, files)) {
      for (Sample sample : samples) {
        goOn.run();
        if (files.encoder().isPresent()) {
          found.add(encoded(codec, sample, files.encoder().get()));
        }
        double bound = files.compute() == DType.F32 ? BOUND : HALF_BOUND;
        found.add(decoded(codec, sample, files.decoder(), bound));
      }
    }
    if (files.decoderF32().isPresent()) {
      String single = files.decoderF32().get();
      AutoencoderFiles alone =
          new AutoencoderFiles(
              Optional.empty(), single, Optional.empty(), files.weights(), DType.F32);
      try (LatentCodec codec = open(folder, spec, alone)) {
        for (Sample sample : samples) {
          goOn.run();
          found.add(decoded(codec, sample, single, BOUND));
        }
      }
    }
    DType stored = files.weights();
    DcAeForward same = new DcAeForward(new Rounded(weights, stored), spec.config());
    List<Verification> all = compare("reference", same, spec, samples, found);
    if (stored != DType.F32) {
      DcAeForward original = new DcAeForward(weights, spec.config());
      all.addAll(compare("reference-f32", original, spec, samples, found));
    }
    return all;
  }

  /**
   * Pictures of one latent pixel and of two: the smallest that cover all there is, as the plain
   * Java reference of a full-size autoencoder takes its seconds. A small one also gets larger ones.
   */
  private static List<Sample> samples(DcAeSpec spec) {
    List<int[]> sizes = new ArrayList<>(List.of(new int[] {1, 1}, new int[] {1, 2}));
    if (!large(spec)) {
      sizes.add(new int[] {5, 3});
      sizes.add(new int[] {4, 9});
    }
    List<Sample> samples = new ArrayList<>();
    for (int[] size : sizes) {
      int f = spec.factor();
      float[] rgb = pixels(samples.size(), 3 * size[0] * f * size[1] * f);
      float[] latent = normals(100 + samples.size(), spec.channels() * size[0] * size[1]);
      samples.add(new Sample(size[0], size[1], rgb, latent));
    }
    return samples;
  }

  /** Whether the plain Java reference and ONNX Runtime take their seconds for a picture. */
  static boolean large(DcAeSpec spec) {
    return DcAeTensors.parameters(spec.config()) > LARGE;
  }

  /** Noise in [-1, 1], as a picture's values are. */
  static float[] pixels(int stream, int count) {
    float[] values = normals(stream, count);
    for (int i = 0; i < count; i++) {
      values[i] = Math.max(-1, Math.min(1, values[i] / 2));
    }
    return values;
  }

  static float[] normals(int stream, int count) {
    double[] normals = new Philox(SEED, stream).normals(count);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) normals[i];
    }
    return values;
  }

  private static LatentCodec open(Path folder, DcAeSpec spec, AutoencoderFiles files)
      throws IOException, EngineException {
    return Engines.openCodec(
            standIn(folder, spec, files), ExportVerifier.BACKEND, EngineOptions.DEFAULT)
        .orElseThrow();
  }

  /**
   * A bundle of an autoencoder whose model may be missing: backends open the codec of a model's
   * bundle, and this one's codec is all that is asked for.
   */
  static Bundle standIn(Path folder, DcAeSpec spec, AutoencoderFiles files) {
    return new Bundle(
        folder,
        NitConfig.s().with(Map.of("in_channels", spec.channels())),
        files.decoder(),
        files.weights().name(),
        DcAeGraph.OPSET,
        Optional.of(spec),
        Optional.of(files),
        List.of(),
        1,
        Bundle.SamplingDefaults.STANDARD,
        List.of(),
        JsonNodeFactory.instance.arrayNode(),
        JsonNodeFactory.instance.objectNode());
  }

  /** The encoder's output; the codec's latent is that times the scaling factor. */
  private static Found encoded(LatentCodec codec, Sample sample, String file) {
    int f = codec.factor();
    float[] latent = codec.encode(sample.rgb, sample.h * f, sample.w * f);
    return new Found(file, true, sample, latent, BOUND);
  }

  private static Found decoded(LatentCodec codec, Sample sample, String file, double bound) {
    Decoded picture = codec.decodeBatch(List.of(sample.latent), sample.h, sample.w).get(0);
    float[] rgb = picture.rgb();
    if (picture.retried()) {
      rgb = new float[rgb.length]; // another file's; this one overflowed
      Arrays.fill(rgb, Float.NaN);
    }
    return new Found(file, false, sample, rgb, bound);
  }

  private static List<Verification> compare(
      String against, DcAeForward reference, DcAeSpec spec, List<Sample> samples, List<Found> found)
      throws IOException {
    float scale = (float) spec.config().scalingFactor();
    List<Verification> all = new ArrayList<>();
    for (Sample sample : samples) {
      int height = sample.h * spec.factor();
      int width = sample.w * spec.factor();
      float[] latent = reference.encode(sample.rgb, height, width);
      float[] unscaled = sample.latent.clone();
      for (int i = 0; i < unscaled.length; i++) {
        latent[i] *= scale;
        unscaled[i] /= scale;
      }
      float[] rgb = reference.decode(unscaled, sample.h, sample.w);
      for (Found one : found) {
        if (one.sample == sample) {
          String pack = one.file + " " + height + "x" + width;
          OptionalDouble bound =
              against.equals("reference") ? OptionalDouble.of(one.bound) : OptionalDouble.empty();
          all.add(measure(against, pack, one.values, one.encoder ? latent : rgb, bound));
        }
      }
    }
    return all;
  }

  /** The largest difference, over the spread of what is expected. */
  private static Verification measure(
      String against, String pack, float[] found, float[] expected, OptionalDouble bound) {
    double largest = 0;
    double sum = 0;
    double squares = 0;
    for (int i = 0; i < found.length; i++) {
      double d = (double) found[i] - expected[i];
      // A value that is not finite makes d NaN, which the maximum would carry into the manifest.
      largest = Math.max(largest, Double.isNaN(d) ? Double.POSITIVE_INFINITY : Math.abs(d));
      sum += expected[i];
      squares += (double) expected[i] * expected[i];
    }
    double mean = sum / found.length;
    double spread = Math.sqrt(squares / found.length - mean * mean);
    // One value alone has no spread; its own size stands for it.
    double relative = largest / (spread > 0 ? spread : Math.max(Math.abs(mean), 1e-6));
    return new Verification(
        against,
        ExportVerifier.BACKEND,
        pack,
        largest,
        Double.isNaN(relative) ? Double.POSITIVE_INFINITY : relative,
        bound);
  }

  /** A checkpoint whose float values are rounded to a type, each tensor when it is asked for. */
  private static final class Rounded extends TensorView {
    private final DType type;

    Rounded(TensorSource from, DType type) {
      super(from);
      this.type = type;
    }

    @Override
    public HostTensor tensor(String name) throws IOException {
      HostTensor tensor = super.tensor(name);
      return tensor.dtype().isFloat() ? tensor.to(type).to(DType.F32) : tensor;
    }
  }
}
