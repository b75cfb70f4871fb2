package io.nit.runtime.cli;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import java.io.IOException;
import java.util.Arrays;

/**
 * One pack as a safetensors file holds it: {@code x [tokens, C, p, p]}, {@code y [B]}, {@code
 * hw_list [B, 2]} (h first), each checked against the model.
 *
 * @param layout from {@code hw_list}
 * @param x any float type
 * @param y labels; numClasses is the null class
 */
record PackInputs(PackLayout layout, HostTensor x, long[] y) {
  /**
   * Reads the three tensors.
   *
   * @throws IllegalArgumentException if one is missing or does not fit the model
   */
  static PackInputs read(TensorSource file, NitConfig config) throws IOException {
    PackLayout layout = layout(file);
    HostTensor x = floats(file, "x", tokenShape(layout, config));
    HostTensor y = integers(file, "y");
    if (!y.shape().equals(Shape.of(layout.images()))) {
      throw mismatch(file, "y", Shape.of(layout.images()).toString(), y.shape());
    }
    long[] labels = y.toLongs();
    for (long label : labels) {
      if (label < 0 || label >= config.labelRows()) {
        throw new IllegalArgumentException(
            file.where()
                + ": y: expected labels of 0.."
                + (config.labelRows() - 1)
                + ", found "
                + label);
      }
    }
    return new PackInputs(layout, x, labels);
  }

  /**
   * The sizes of a file's images, from {@code hw_list [B, 2]} (h first).
   *
   * @throws IllegalArgumentException if it is missing or of another shape
   */
  static PackLayout layout(TensorSource file) throws IOException {
    HostTensor hwList = integers(file, "hw_list");
    if (hwList.shape().rank() != 2 || hwList.shape().dim(1) != 2 || hwList.shape().dim(0) == 0) {
      throw mismatch(file, "hw_list", "[images, 2]", hwList.shape());
    }
    try {
      return PackLayout.ofHwList(hwList.toLongs());
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(file.where() + ": " + e.getMessage(), e);
    }
  }

  /** A float tensor of a given shape. */
  static HostTensor floats(TensorSource file, String name, Shape shape) throws IOException {
    HostTensor tensor = tensor(file, name);
    if (!tensor.dtype().isFloat()) {
      throw new IllegalArgumentException(
          file.where() + ": " + name + ": expected a float type, found " + tensor.dtype());
    }
    if (!tensor.shape().equals(shape)) {
      throw mismatch(file, name, shape.toString(), tensor.shape());
    }
    return tensor;
  }

  private static HostTensor integers(TensorSource file, String name) throws IOException {
    HostTensor tensor = tensor(file, name);
    if (tensor.dtype().isFloat() || tensor.dtype() == DType.BOOL) {
      throw new IllegalArgumentException(
          file.where() + ": " + name + ": expected integers, found " + tensor.dtype());
    }
    return tensor;
  }

  /** [tokens, C, p, p], with more extents in front. */
  static Shape tokenShape(PackLayout layout, NitConfig config, long... before) {
    long[] dims = Arrays.copyOf(before, before.length + 4);
    dims[before.length] = layout.tokens();
    dims[before.length + 1] = config.inChannels();
    dims[before.length + 2] = config.patchSize();
    dims[before.length + 3] = config.patchSize();
    return Shape.of(dims);
  }

  private static HostTensor tensor(TensorSource file, String name) throws IOException {
    if (!file.has(name)) {
      throw new IllegalArgumentException(
          file.where()
              + ": expected a tensor "
              + name
              + ", found "
              + String.join(", ", file.specs().keySet()));
    }
    return file.tensor(name);
  }

  private static IllegalArgumentException mismatch(
      TensorSource file, String name, String expected, Shape found) {
    return new IllegalArgumentException(
        file.where() + ": " + name + ": expected shape " + expected + ", found " + found);
  }
}
