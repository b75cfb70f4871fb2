package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.OnnxWeights;
import io.nit.exporter.trt.TrtModel;
import io.nit.exporter.trt.TrtNetwork;
import io.nit.exporter.verify.EngineVerifier;
import io.nit.runtime.engine.EngineException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Optional;

/**
 * The model of a bundle, for an engine.
 *
 * @param bundle the bundle
 * @param precision type of the engine's arithmetic
 */
record ModelSource(Bundle bundle, DType precision) implements EngineSource {
  @Override
  public EngineSubject subject(BuildOptions options) {
    return new EngineSubject.Model(
        bundle.config(),
        options.buckets().stream()
            .map(bucket -> new EngineManifest.Profile(bucket, options.images(bucket)))
            .toList());
  }

  @Override
  public Optional<String> hash() {
    return EngineManifest.modelHash(bundle);
  }

  @Override
  public Optional<PluginLibrary> plugins() throws IOException, EngineException {
    if (precision == DType.F32) {
      return Optional.empty();
    }
    try {
      return Optional.of(PluginLibrary.find());
    } catch (FileNotFoundException e) {
      throw new EngineException("an engine in " + precision + ": " + e.getMessage(), e);
    }
  }

  @Override
  public TrtNetwork write(Path target) throws IOException {
    return TrtModel.write(
        bundle.model(), precision, target, OnnxFile.EXTERNAL_DATA_ABOVE, bytes -> {});
  }

  @Override
  public void verify(Path folder, int device, ArrayNode into) throws IOException, EngineException {
    try (OnnxWeights weights = OnnxWeights.open(bundle.model())) {
      VerificationResults.take(
          EngineVerifier.verify(
              bundle,
              folder,
              TrtModel.inCheckpointShapes(weights, bundle.config()),
              precision,
              device),
          into);
    }
  }
}
