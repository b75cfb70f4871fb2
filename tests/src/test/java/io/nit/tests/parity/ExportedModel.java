package io.nit.tests.parity;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.testing.PlainBundle;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.List;

/** A model exported to a folder and opened in ONNX Runtime. */
public final class ExportedModel implements AutoCloseable {
  private final OnnxFile file;
  private final VelocityEngine engine;

  private ExportedModel(OnnxFile file, VelocityEngine engine) {
    this.file = file;
    this.engine = engine;
  }

  /** Exports with the weights inside the file. */
  public static ExportedModel of(
      NitConfig config, TensorSource weights, DType storage, Path folder, int threads)
      throws IOException, EngineException {
    return of(config, weights, storage, folder, threads, OnnxFile.EXTERNAL_DATA_ABOVE);
  }

  /** Exports with the weights in a file of their own where they are larger than given. */
  public static ExportedModel of(
      NitConfig config,
      TensorSource weights,
      DType storage,
      Path folder,
      int threads,
      long externalDataAbove)
      throws IOException, EngineException {
    OnnxFile file =
        OnnxFile.write(
            new NitGraph(config, storage),
            weights,
            folder.resolve("model.onnx"),
            externalDataAbove,
            bytes -> {});
    Bundle bundle =
        PlainBundle.of(folder, config, "model.onnx", storage.name(), Integer.MAX_VALUE, List.of());
    return new ExportedModel(file, Engines.open(bundle, "ort-cpu", new EngineOptions(threads)));
  }

  /** The files. */
  public OnnxFile file() {
    return file;
  }

  /** Velocities of a pack. */
  public float[] forward(ForwardInputs in) throws EngineException {
    FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
    engine.forward(in, v);
    return v.array();
  }

  @Override
  public void close() {
    engine.close();
  }
}
