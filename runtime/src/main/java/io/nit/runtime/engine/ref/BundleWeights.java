package io.nit.runtime.engine.ref;

import io.nit.core.bundle.Bundle;
import io.nit.core.io.ProtobufField;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;

/**
 * The weights of a bundle's ONNX file as a checkpoint, under the extents that a checkpoint has: the
 * graph groups those of a convolution in another way, never the order of their values. They are
 * mapped when they are asked for, from the file or its data file.
 *
 * <p>The numbers of fields and types are those of the public {@code onnx.proto}.
 */
final class BundleWeights implements TensorSource {
  private static final int GRAPH = 7; // of a model
  private static final int INITIALIZER = 5; // of a graph
  private static final int TYPE = 2; // of a tensor, as all below
  private static final int NAME = 8;
  private static final int RAW_DATA = 9;
  private static final int EXTERNAL_DATA = 13;
  private static final Map<Integer, DType> TYPES =
      Map.of(1, DType.F32, 10, DType.F16, 16, DType.BF16);

  private record Place(Path file, long offset) {}

  private final Path model;
  private final Map<String, TensorSpec> specs = new LinkedHashMap<>();
  private final Map<String, Place> places = new HashMap<>();

  private BundleWeights(Path model) {
    this.model = model;
  }

  /**
   * Reads where the weights lie.
   *
   * @throws NoSuchFileException if a file is missing
   * @throws IOException if the model is no ONNX file, or its data file is too short
   */
  static BundleWeights open(Bundle bundle) throws IOException {
    BundleWeights weights = new BundleWeights(bundle.model());
    Map<String, TensorSpec> known = NitTensors.of(bundle.config(), false);
    try {
      for (ProtobufField graph : ProtobufField.of(map(weights.model, 0, -1))) {
        if (graph.number() == GRAPH) {
          for (ProtobufField part : ProtobufField.of(graph.value())) {
            if (part.number() == INITIALIZER) {
              weights.add(part.value(), known);
            }
          }
        }
      }
    } catch (IllegalArgumentException e) {
      throw new IOException(weights.model + ": expected an ONNX file: " + e.getMessage(), e);
    }
    return weights;
  }

  private void add(ByteBuffer tensor, Map<String, TensorSpec> known) throws IOException {
    String name = "";
    int type = 0;
    long offset = -1;
    Map<String, String> external = new HashMap<>();
    for (ProtobufField field : ProtobufField.of(tensor)) {
      switch (field.number()) {
        case TYPE -> type = (int) field.integer();
        case NAME -> name = field.text();
        case RAW_DATA -> offset = field.value().position();
        case EXTERNAL_DATA -> {
          Map<Integer, String> entry = new HashMap<>();
          ProtobufField.of(field.value()).forEach(part -> entry.put(part.number(), part.text()));
          external.put(entry.get(1), entry.get(2));
        }
        default -> {
          // extents are the checkpoint's
        }
      }
    }
    TensorSpec spec = known.get(name);
    if (spec == null) {
      return; // a constant of the graph
    }
    if (!TYPES.containsKey(type)) {
      throw new IOException(model + ": " + name + ": expected a float type, found type " + type);
    }
    Place place = new Place(model, offset);
    if (offset < 0) {
      String location = external.get("location");
      if (location == null) {
        throw new IOException(model + ": " + name + ": expected values or a data file");
      }
      place =
          new Place(
              model.resolveSibling(location), Long.parseLong(external.getOrDefault("offset", "0")));
    }
    TensorSpec stored = new TensorSpec(name, TYPES.get(type), spec.shape());
    long size = size(place.file);
    if (place.offset + stored.bytes() > size) {
      throw new IOException(
          place.file
              + ": "
              + name
              + ": expected at least "
              + (place.offset + stored.bytes())
              + " bytes, found "
              + size);
    }
    specs.put(name, stored);
    places.put(name, place);
  }

  private static long size(Path file) throws IOException {
    if (!Files.isRegularFile(file)) {
      throw new NoSuchFileException(file.toString());
    }
    return Files.size(file);
  }

  private static ByteBuffer map(Path file, long offset, long bytes) throws IOException {
    size(file); // tells a missing one
    try (FileChannel in = FileChannel.open(file)) {
      return in.map(FileChannel.MapMode.READ_ONLY, offset, bytes < 0 ? in.size() : bytes);
    }
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return specs;
  }

  @Override
  public Map<String, String> metadata() {
    return Map.of();
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    TensorSpec spec = specs.get(name);
    if (spec == null) {
      throw new IllegalArgumentException(model + ": expected a tensor " + name + ", found none");
    }
    Place place = places.get(name);
    return new HostTensor(spec, map(place.file, place.offset, spec.bytes()));
  }

  @Override
  public String where() {
    return model.getFileName().toString();
  }

  /** Nothing stays open between calls. */
  @Override
  public void close() {}
}
