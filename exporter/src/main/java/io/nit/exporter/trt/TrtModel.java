package io.nit.exporter.trt;

import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.Shape;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import java.io.IOException;
import java.nio.file.Path;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongConsumer;

/**
 * A NiT model as TensorRT's parser takes it, made from an exported ONNX file: the same network and
 * weights, inputs and output, laid out by {@link NitGraph#forTensorRt}. A strongly typed network
 * computes in the types that the file gives, so that a 16-bit engine needs a 16-bit graph, and the
 * parser takes a node for a plugin only where no local function of its name stands in the file.
 *
 * @param file the ONNX file for TensorRT
 * @param modulations the network that computes the modulations which {@code file} takes as an
 *     input, if it does
 * @param config the network
 * @param precision type of its arithmetic
 * @param plugins how many nodes of each plugin it holds
 */
public record TrtModel(
    OnnxFile file,
    Optional<OnnxFile> modulations,
    NitConfig config,
    DType precision,
    Map<String, Integer> plugins)
    implements TrtNetwork {
  /** Rows of modulations at once: a picture of 50 steps, guided. */
  private static final int ROWS = 128;

  /** Copies the map. */
  public TrtModel {
    plugins = Map.copyOf(plugins);
  }

  /**
   * Writes the file for TensorRT.
   *
   * @param model a model of {@code nit-export}, with its data file where it has one
   * @param precision F32, F16 or BF16
   * @param target the file to make or replace; that of the modulations, if there is one, lies
   *     beside it
   * @param externalDataAbove bytes of weights above which they get a file of their own
   * @param progress takes the bytes of every weight once it is written; may throw to stop the work
   * @throws IllegalArgumentException if the model is none of ours, or a weight leaves the range of
   *     {@code precision}
   * @throws IOException if a file cannot be read or written
   */
  public static TrtModel write(
      Path model, DType precision, Path target, long externalDataAbove, LongConsumer progress)
      throws IOException {
    try (OnnxWeights weights = OnnxWeights.open(model)) {
      return write(config(weights, model), weights, precision, target, externalDataAbove, progress);
    }
  }

  /**
   * Writes the file for TensorRT straight from a checkpoint.
   *
   * @param weights the checkpoint
   */
  public static TrtModel write(
      NitConfig config,
      TensorSource weights,
      DType precision,
      Path target,
      long externalDataAbove,
      LongConsumer progress)
      throws IOException {
    NitGraph graph = NitGraph.forTensorRt(config, precision);
    TensorSource checkpoint = inCheckpointShapes(weights, config);
    OnnxFile file = OnnxFile.write(graph, checkpoint, target, externalDataAbove, progress);
    Optional<OnnxFile> modulations = Optional.empty();
    if (graph.takesModulations()) {
      modulations =
          Optional.of(
              OnnxFile.write(
                  NitGraph.modulations(config, precision),
                  checkpoint,
                  target.resolveSibling("modulations-" + target.getFileName()),
                  externalDataAbove,
                  progress));
    }
    return new TrtModel(file, modulations, config, precision, graph.plugins());
  }

  /**
   * A model's weights under the extents that a checkpoint has: a graph groups those of a
   * convolution in another way, never the order of their values.
   *
   * @return a view, which leaves {@code weights} to whoever opened them
   */
  public static TensorSource inCheckpointShapes(TensorSource weights, NitConfig config) {
    return new CheckpointShapes(weights, NitTensors.of(config, false));
  }

  private static NitConfig config(OnnxWeights weights, Path model) {
    String text = weights.metadata().get("nit.config");
    if (text == null) {
      throw new IllegalArgumentException(
          model + ": expected a model of nit-export, found no nit.config in its metadata");
    }
    // The order is in the text; a graph does not depend on it.
    return NitConfig.fromJson(text, model + ": nit.config", PositionOrder.AXIAL);
  }

  @Override
  public List<OnnxFile> files() {
    return modulations.isPresent() ? List.of(file, modulations.get()) : List.of(file);
  }

  @Override
  public List<InputSizes> profiles(int network, BuildOptions options) {
    return network == 0
        ? options.buckets().stream().map(bucket -> packs(bucket, options)).toList()
        : List.of(rows());
  }

  private InputSizes packs(int tokens, BuildOptions options) {
    int images = options.images(tokens);
    int typical = options.typicalImages(tokens);
    long p = config.patchSize();
    InputSizes.Range packed = sizes(1, tokens, tokens);
    InputSizes.Range table = sizes(1, tokens, tokens, config.headDim());
    Map<String, InputSizes.Range> inputs = new LinkedHashMap<>();
    inputs.put("x", sizes(1, tokens, tokens, config.inChannels(), p, p));
    inputs.put("rope_cos", table);
    inputs.put("rope_sin", table);
    inputs.put("cu_seqlens", sizes(2, typical + 1, images + 1));
    if (modulations.isPresent()) {
      int rows = options.modulationRows(config);
      long columns = (long) config.modulationParts() * config.hiddenSize();
      inputs.put("modulation", sizes(rows, rows, rows, columns));
      inputs.put("modulation_row", packed);
    } else {
      InputSizes.Range perImage = sizes(1, typical, images);
      inputs.put("t", perImage);
      inputs.put("y", perImage);
      inputs.put("image_index", packed);
    }
    return new InputSizes(tokens + " tokens", inputs);
  }

  /** One size: rows cost little beside the weights, a new size costs milliseconds. */
  private static InputSizes rows() {
    InputSizes.Range rows = sizes(ROWS, ROWS, ROWS);
    return new InputSizes("modulations", Map.of("t", rows, "y", rows));
  }

  private static InputSizes.Range sizes(int least, int typical, int most, long... rest) {
    return new InputSizes.Range(shape(least, rest), shape(typical, rest), shape(most, rest));
  }

  private static Shape shape(int first, long... rest) {
    long[] dims = new long[1 + rest.length];
    dims[0] = first;
    System.arraycopy(rest, 0, dims, 1, rest.length);
    return Shape.of(dims);
  }
}
