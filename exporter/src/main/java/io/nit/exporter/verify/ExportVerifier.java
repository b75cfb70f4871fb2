package io.nit.exporter.verify;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.NitTensors;
import io.nit.core.tensor.Parity;
import io.nit.core.tensor.TensorSpec;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.OptionalDouble;

/**
 * Compares an exported file with the plain Java reference forward. Against the weights as they are
 * stored the bound is the same for all types, since all arithmetic is single precision; what the
 * rounding of 16-bit weights itself costs is reported beside it, without a bound.
 */
public final class ExportVerifier {
  /** Largest relative error against the reference on the same weights. */
  public static final double BOUND = 2e-5;

  /** The backend that every bundle must run on. */
  public static final String BACKEND = "ort-cpu";

  private ExportVerifier() {}

  /**
   * Runs every pack through both.
   *
   * @param bundle the exported model; its manifest need not be written yet
   * @param weights the checkpoint it was made from
   * @param packs what to run
   * @param scratch a folder for rounded weights, which are removed again
   * @param goOn asked before each pack and each tensor that is read; what it throws ends the work
   * @return one entry a pack, two for 16-bit weights
   * @throws EngineException if the file does not load or run
   * @throws IOException if a file cannot be read or written
   */
  public static List<Verification> verify(
      Bundle bundle,
      TensorSource weights,
      List<VerificationPack> packs,
      Path scratch,
      Runnable goOn)
      throws IOException, EngineException {
    TensorSource checkpoint = new WatchedWeights(weights, goOn);
    DType storage = DType.parse(bundle.weights());
    List<float[]> found = new ArrayList<>();
    try (VelocityEngine engine = Engines.open(bundle, BACKEND, EngineOptions.DEFAULT)) {
      for (VerificationPack pack : packs) {
        goOn.run();
        found.add(run(engine, pack));
      }
    }
    if (storage == DType.F32) {
      return compare("reference", OptionalDouble.of(BOUND), found, checkpoint, bundle, packs, goOn);
    }
    Path rounded = Files.createTempFile(scratch, "rounded-", ".safetensors");
    try {
      round(checkpoint, bundle.config(), storage, rounded);
      List<Verification> all;
      try (TensorSource stored = SafetensorsFile.open(rounded)) {
        all = compare("reference", OptionalDouble.of(BOUND), found, stored, bundle, packs, goOn);
      }
      all.addAll(
          compare("reference-f32", OptionalDouble.empty(), found, checkpoint, bundle, packs, goOn));
      return all;
    } finally {
      Files.deleteIfExists(rounded);
    }
  }

  /**
   * The weights rounded to {@code storage}, as floats in a file: the reference maps those and needs
   * no heap for them.
   */
  static void round(TensorSource from, NitConfig config, DType storage, Path target)
      throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    for (TensorSpec spec : NitTensors.of(config, false).values()) {
      writer.add(spec, () -> from.tensor(spec.name()).to(storage).to(DType.F32).bytes());
    }
    writer.write(target);
  }

  private static List<Verification> compare(
      String against,
      OptionalDouble bound,
      List<float[]> found,
      TensorSource weights,
      Bundle bundle,
      List<VerificationPack> packs,
      Runnable goOn)
      throws IOException, EngineException {
    List<Verification> all = new ArrayList<>();
    try (ReferenceEngine reference = ReferenceEngine.open(weights, bundle.config())) {
      for (int i = 0; i < packs.size(); i++) {
        goOn.run();
        float[] expected = run(reference, packs.get(i));
        all.add(measure(against, BACKEND, bound, packs.get(i).name(), found.get(i), expected));
      }
    }
    return all;
  }

  static Verification measure(
      String against,
      String backend,
      OptionalDouble bound,
      String pack,
      float[] found,
      float[] expected) {
    Parity parity = Parity.of(found, expected);
    return new Verification(against, backend, pack, parity.maxAbs(), parity.relative(), bound);
  }

  static float[] run(VelocityEngine engine, VerificationPack pack) throws EngineException {
    FloatBuffer v = FloatBuffer.allocate(pack.inputs().x().remaining());
    engine.forward(pack.inputs(), v);
    return v.array();
  }
}
