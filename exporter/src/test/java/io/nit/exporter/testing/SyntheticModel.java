package io.nit.exporter.testing;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.file.Path;

/** Exports of small models in single precision, for tests. */
public final class SyntheticModel {
  private SyntheticModel() {}

  /**
   * Exports a model of {@link SyntheticWeights} without a projector.
   *
   * @param folder made where it is missing
   * @return the file, {@code model.onnx} in the folder, with its weights
   */
  public static Path write(NitConfig config, Path folder) throws IOException {
    return write(config, new SyntheticWeights(config, false), folder);
  }

  /**
   * Exports a model of other weights, which stay the caller's.
   *
   * @param folder made where it is missing
   * @return the file, {@code model.onnx} in the folder, with its weights
   */
  public static Path write(NitConfig config, TensorSource weights, Path folder) throws IOException {
    return OnnxFile.write(
            new NitGraph(config, DType.F32),
            weights,
            folder.resolve("model.onnx"),
            OnnxFile.EXTERNAL_DATA_ABOVE,
            bytes -> {})
        .model();
  }
}
