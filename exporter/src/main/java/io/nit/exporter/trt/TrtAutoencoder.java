package io.nit.exporter.trt;

import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.config.DcAeConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.Shape;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.exporter.onnx.DcAeGraph.Part;
import io.nit.exporter.onnx.OnnxFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.function.LongConsumer;

/**
 * A half of a DC-AE as TensorRT's parser takes it: the network and weights of an exported ONNX
 * file, with its input and output, laid out by {@link DcAeGraph#forTensorRt}. It holds no plugins.
 *
 * @param file the ONNX file for TensorRT
 * @param config the autoencoder
 * @param part which half
 * @param precision type of the arithmetic
 * @param sizes the pictures of each profile, rising
 */
public record TrtAutoencoder(
    OnnxFile file, DcAeConfig config, Part part, DType precision, List<PictureProfile> sizes)
    implements TrtNetwork {
  /** Bytes of weights above which they lie beside the file: inside they stand in memory twice. */
  private static final long EXTERNAL_DATA_ABOVE = 100_000_000;

  /**
   * Checks the sizes.
   *
   * @throws IllegalArgumentException if there are none, they do not rise, or a side is no multiple
   *     of the autoencoder's factor
   */
  public TrtAutoencoder {
    sizes = List.copyOf(sizes);
    requireSizes(sizes, config.factor());
  }

  /**
   * Checks sizes of pictures.
   *
   * @throws IllegalArgumentException naming the flag that they come from
   */
  public static void requireSizes(List<PictureProfile> sizes, int factor) {
    int before = 0;
    for (PictureProfile size : sizes) {
      if (size.side() <= before || size.side() % factor != 0) {
        throw new IllegalArgumentException(
            "--autoencoder-sizes: expected rising multiples of "
                + factor
                + " pixels (the autoencoder's factor), found "
                + sizes.stream().map(PictureProfile::side).toList());
      }
      if (size.images() < 1) {
        throw new IllegalArgumentException(
            "--autoencoder-batch: expected 1 or more, found " + size.images());
      }
      before = size.side();
    }
    if (sizes.isEmpty() || sizes.size() > 16) {
      throw new IllegalArgumentException(
          "--autoencoder-sizes: expected 1 to 16, found " + sizes.size());
    }
  }

  /**
   * Writes the file for TensorRT.
   *
   * @param model the half's ONNX file of {@code nit-export}, with its data file where it has one
   * @param precision F32, F16 or BF16
   * @param target the file to make or replace
   * @throws IllegalArgumentException if the file is none of that half, or a weight leaves the range
   *     of {@code precision}
   * @throws IOException if a file cannot be read or written
   */
  public static TrtAutoencoder write(
      Path model,
      DcAeConfig config,
      Part part,
      DType precision,
      List<PictureProfile> sizes,
      Path target)
      throws IOException {
    try (OnnxWeights weights = OnnxWeights.open(model)) {
      return write(weights, config, part, precision, sizes, target, bytes -> {});
    }
  }

  /**
   * Writes the file for TensorRT straight from a checkpoint.
   *
   * @param weights the checkpoint, or what one half has of it
   * @param progress takes the bytes of every weight once it is written; may throw to stop the work
   */
  public static TrtAutoencoder write(
      TensorSource weights,
      DcAeConfig config,
      Part part,
      DType precision,
      List<PictureProfile> sizes,
      Path target,
      LongConsumer progress)
      throws IOException {
    requireSizes(sizes, config.factor());
    OnnxFile file =
        OnnxFile.write(
            DcAeGraph.forTensorRt(config, part, precision),
            new CheckpointShapes(weights, DcAeTensors.of(config)),
            target,
            EXTERNAL_DATA_ABOVE,
            progress);
    return new TrtAutoencoder(file, config, part, precision, sizes);
  }

  @Override
  public List<OnnxFile> files() {
    return List.of(file);
  }

  @Override
  public Map<String, Integer> plugins(int file) {
    return Map.of();
  }

  /**
   * {@inheritDoc}
   *
   * <p>Every height and width from one latent pixel on, and each profile tuned for its largest
   * square.
   */
  @Override
  public List<InputSizes> profiles(int file, BuildOptions options) {
    boolean encodes = part == Part.ENCODER;
    String input = encodes ? "rgb" : "latent";
    int channels = encodes ? DcAeConfig.IN_CHANNELS : config.latentChannels();
    int pixel = encodes ? config.factor() : 1; // of the input, a latent pixel wide
    List<InputSizes> all = new ArrayList<>();
    for (PictureProfile size : sizes) {
      int most = size.side() / config.factor() * pixel;
      Shape one = Shape.of(1, channels, pixel, pixel);
      Shape square = Shape.of(1, channels, most, most);
      Shape together = Shape.of(size.images(), channels, most, most);
      all.add(
          new InputSizes(
              size.side() + " pixels a side",
              Map.of(input, new InputSizes.Range(one, square, together))));
    }
    return all;
  }
}
