package io.nit.exporter.verify;

import io.nit.core.bundle.Bundle;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.exporter.trt.BuildOptions;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;

/**
 * Compares an engine with the plain Java forward of the bundle's own weights. What 16 bits cost
 * depends on the model; the bounds only find what is wrong.
 */
public final class EngineVerifier {
  /** The backend that engines run on. */
  public static final String BACKEND = "tensorrt";

  private EngineVerifier() {}

  /** Largest relative error of a precision. */
  public static double bound(DType precision) {
    return switch (precision) {
      case BF16 -> 5e-2;
      case F16 -> 1e-2;
      default -> 1e-4;
    };
  }

  /**
   * Runs every pack that the engine holds through both.
   *
   * @param bundle the bundle
   * @param folder where the engine and its manifest lie; takes a file that is removed again
   * @param weights the bundle's weights, in the shapes of a checkpoint
   * @param precision the engine's
   * @param built the GPU and the buckets that it was built for
   * @return one entry a pack
   * @throws EngineException if the engine does not load or run
   * @throws IOException if a file cannot be read
   */
  public static List<Verification> verify(
      Bundle bundle, Path folder, TensorSource weights, DType precision, BuildOptions built)
      throws IOException, EngineException {
    Bundle engines = bundle.in(folder);
    DType storage = DType.parse(bundle.weights());
    if (storage == DType.F32) {
      return compare(engines, weights, precision, built);
    }
    // As floats in a file: the reference maps those and needs no heap for them.
    Path rounded = Files.createTempFile(folder, "rounded-", ".safetensors");
    try {
      ExportVerifier.round(weights, bundle.config(), storage, rounded);
      try (TensorSource stored = SafetensorsFile.open(rounded)) {
        return compare(engines, stored, precision, built);
      }
    } finally {
      Files.deleteIfExists(rounded);
    }
  }

  private static List<Verification> compare(
      Bundle engines, TensorSource weights, DType precision, BuildOptions built)
      throws IOException, EngineException {
    List<Verification> all = new ArrayList<>();
    int maxTokens = built.buckets().get(built.buckets().size() - 1);
    EngineOptions options =
        new EngineOptions(0, built.device(), EngineOptions.DecodeOptions.STANDARD);
    try (ReferenceEngine reference = ReferenceEngine.open(weights, engines.config());
        VelocityEngine engine = Engines.open(engines, BACKEND, options)) {
      for (VerificationPack pack : VerificationPack.of(engines.config())) {
        if (pack.inputs().layout().tokens() > maxTokens) {
          continue;
        }
        all.add(
            ExportVerifier.measure(
                "reference",
                BACKEND,
                OptionalDouble.of(bound(precision)),
                pack.name(),
                ExportVerifier.run(engine, pack),
                ExportVerifier.run(reference, pack)));
      }
    }
    return all;
  }
}
