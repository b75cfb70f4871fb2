package io.nit.exporter.trt;

import io.nit.core.bundle.PackPlan;
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
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.LongConsumer;
import java.util.stream.Stream;

/**
 * A NiT model as TensorRT's parser takes it, made from an exported ONNX file: the same network and
 * weights, inputs and output, laid out by {@link NitGraph#forTensorRt}. A strongly typed network
 * computes in the types that the file gives, so that a 16-bit engine needs a 16-bit graph, and the
 * parser takes a node for a plugin only where no local function of its name stands in the file.
 *
 * @param packs the networks that run packs, one for each of the engine's plans
 * @param modulations the network that computes the modulations which {@code packs} take as an
 *     input, if they do
 * @param config the network
 * @param precision type of its arithmetic
 */
public record TrtModel(
    List<Network> packs, Optional<OnnxFile> modulations, NitConfig config, DType precision)
    implements TrtNetwork {
  /** Rows of modulations at once: a picture of 50 steps, guided. */
  private static final int ROWS = 128;

  /**
   * The model's forward.
   *
   * @param plan which of the engine's plans it is for
   * @param file the ONNX file for TensorRT
   * @param plugins how many nodes of each plugin it holds
   */
  public record Network(PackPlan plan, OnnxFile file, Map<String, Integer> plugins) {
    /** Copies the map. */
    public Network {
      plugins = Map.copyOf(plugins);
    }
  }

  /** Copies the list. */
  public TrtModel {
    packs = List.copyOf(packs);
  }

  /**
   * Writes the files for TensorRT.
   *
   * @param model a model of {@code nit-export}, with its data file where it has one
   * @param precision F32, F16 or BF16
   * @param plans the engine's plans that run packs, see {@link BuildOptions#packPlans}
   * @param target the file to make or replace; those of a plan for small packs and of the
   *     modulations lie beside it
   * @param externalDataAbove bytes of weights above which they get a file of their own
   * @param progress takes the bytes of every weight once it is written; may throw to stop the work
   * @throws IllegalArgumentException if the model is none of ours, or a weight leaves the range of
   *     {@code precision}
   * @throws IOException if a file cannot be read or written
   */
  public static TrtModel write(
      Path model,
      DType precision,
      List<PackPlan> plans,
      Path target,
      long externalDataAbove,
      LongConsumer progress)
      throws IOException {
    try (OnnxWeights weights = OnnxWeights.open(model)) {
      return write(
          config(weights, model), weights, precision, plans, target, externalDataAbove, progress);
    }
  }

  /**
   * Writes the files for TensorRT straight from a checkpoint.
   *
   * @param weights the checkpoint
   */
  public static TrtModel write(
      NitConfig config,
      TensorSource weights,
      DType precision,
      List<PackPlan> plans,
      Path target,
      long externalDataAbove,
      LongConsumer progress)
      throws IOException {
    TensorSource checkpoint = inCheckpointShapes(weights, config);
    List<Network> packs = new ArrayList<>();
    for (PackPlan plan : plans) {
      NitGraph graph =
          plan == PackPlan.SMALL
              ? NitGraph.smallPacksForTensorRt(config, precision)
              : NitGraph.forTensorRt(config, precision);
      Path file = plan == PackPlan.SMALL ? beside(target, "small-packs-") : target;
      // All take the same weights in the same order.
      OnnxFile written =
          packs.isEmpty() || packs.get(0).file().data().isEmpty()
              ? OnnxFile.write(graph, checkpoint, file, externalDataAbove, progress)
              : packs.get(0).file().share(graph, file);
      packs.add(new Network(plan, written, graph.plugins()));
    }
    Optional<OnnxFile> modulations = Optional.empty();
    if (precision != DType.F32) {
      modulations =
          Optional.of(
              OnnxFile.write(
                  NitGraph.modulations(config, precision),
                  checkpoint,
                  beside(target, "modulations-"),
                  externalDataAbove,
                  progress));
    }
    return new TrtModel(packs, modulations, config, precision);
  }

  private static Path beside(Path target, String prefix) {
    return target.resolveSibling(prefix + target.getFileName());
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

  /** The file of the first plan that runs packs. */
  public OnnxFile file() {
    return packs.get(0).file();
  }

  @Override
  public List<OnnxFile> files() {
    return Stream.concat(packs.stream().map(Network::file), modulations.stream()).toList();
  }

  /** {@inheritDoc} The modulations hold none. */
  @Override
  public Map<String, Integer> plugins(int file) {
    return file < packs.size() ? packs.get(file).plugins() : Map.of();
  }

  /**
   * {@inheritDoc}
   *
   * @throws IllegalArgumentException if the options put buckets into other plans than these
   */
  @Override
  public List<InputSizes> profiles(int file, BuildOptions options) {
    List<PackPlan> plans = packs.stream().map(Network::plan).toList();
    if (!plans.equals(options.packPlans())) {
      throw new IllegalArgumentException(
          "plans of packs: expected " + plans + ", found " + options.packPlans());
    }
    return file < packs.size()
        ? options.buckets().stream()
            .filter(bucket -> options.plan(bucket) == plans.get(file))
            .map(bucket -> packs(bucket, options))
            .toList()
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
