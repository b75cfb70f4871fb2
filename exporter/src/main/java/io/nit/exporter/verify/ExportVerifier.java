package io.nit.exporter.verify;

import io.nit.core.bundle.Bundle;
import io.nit.core.config.NitConfig;
import io.nit.core.oracle.ForwardOracle;
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
import java.util.Optional;
import java.util.OptionalDouble;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compares an exported file with the plain Java reference forward, and a short sampling by it with
 * one by the trainer's forward, or by the reference where no trainer is on the class path. Against
 * the weights as they are stored the bound is the same for all types, since all arithmetic is
 * single precision; what the rounding of 16-bit weights itself costs is reported beside it, without
 * a bound.
 */
public final class ExportVerifier {
  /** Largest relative error against the reference on the same weights. */
  public static final double BOUND = 2e-5;

  /** The backend that every bundle must run on. */
  public static final String BACKEND = "ort-cpu";

  /** Largest relative error against the trainer, and of a short sampling's latents. */
  public static final double SAMPLING_BOUND = 1e-4;

  private static final Logger LOG = LoggerFactory.getLogger(ExportVerifier.class);

  private ExportVerifier() {}

  /** What the file made: velocities of every pack, and the latent of a short sampling. */
  private record Found(
      List<float[]> velocities, Optional<VerificationPack> picture, float[] latent) {}

  /**
   * Runs every pack through both.
   *
   * @param bundle the exported model; its manifest need not be written yet
   * @param weights the checkpoint it was made from
   * @param packs what to run
   * @param scratch a folder for rounded weights, which are removed again
   * @param goOn asked before each pack and each tensor that is read; what it throws ends the work
   * @return one entry a pack, two for 16-bit weights, one more with the trainer; then one of the
   *     sampled latents and, where the bundle has a codec, one of their pictures
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
    Found found = found(bundle, packs, goOn);
    if (storage == DType.F32) {
      return compare(found, checkpoint, bundle, packs, goOn);
    }
    Path rounded = Files.createTempFile(scratch, "rounded-", ".safetensors");
    try {
      round(checkpoint, bundle.config(), storage, rounded);
      List<Verification> all;
      try (TensorSource stored = SafetensorsFile.open(rounded)) {
        all = compare(found, stored, bundle, packs, goOn);
      }
      try (ReferenceEngine original = ReferenceEngine.open(checkpoint, bundle.config())) {
        all.addAll(
            velocities("reference-f32", OptionalDouble.empty(), found, original, packs, goOn));
      }
      return all;
    } finally {
      Files.deleteIfExists(rounded);
    }
  }

  private static Found found(Bundle bundle, List<VerificationPack> packs, Runnable goOn)
      throws IOException, EngineException {
    List<float[]> velocities = new ArrayList<>();
    Optional<VerificationPack> picture = ShortSampling.pack(packs);
    try (VelocityEngine engine = Engines.open(bundle, BACKEND, EngineOptions.DEFAULT)) {
      for (VerificationPack pack : packs) {
        goOn.run();
        velocities.add(run(engine, pack));
      }
      goOn.run();
      return new Found(
          velocities,
          picture,
          picture.isPresent() ? ShortSampling.latent(engine, picture.get()) : new float[0]);
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

  /** Against the weights as they are stored. */
  private static List<Verification> compare(
      Found found, TensorSource weights, Bundle bundle, List<VerificationPack> packs, Runnable goOn)
      throws IOException, EngineException {
    Optional<ForwardOracle> oracle =
        ForwardOracle.find(reason -> LOG.info("not compared with the trainer: {}", reason));
    List<Verification> all = new ArrayList<>();
    try (ReferenceEngine reference = ReferenceEngine.open(weights, bundle.config())) {
      all.addAll(velocities("reference", OptionalDouble.of(BOUND), found, reference, packs, goOn));
      if (oracle.isEmpty()) {
        all.addAll(sampled("reference", found, bundle, reference, goOn));
      }
    }
    if (oracle.isPresent()) {
      LOG.info("comparing with the trainer's forward: {}", oracle.get().description());
      String against = EngineVerifier.TRAINER;
      OptionalDouble bound = OptionalDouble.of(SAMPLING_BOUND);
      try (VelocityEngine trainer = TrainerForward.open(oracle.get(), bundle.config(), weights)) {
        all.addAll(velocities(against, bound, found, trainer, packs, goOn));
        all.addAll(sampled(against, found, bundle, trainer, goOn));
      }
    }
    return all;
  }

  private static List<Verification> velocities(
      String against,
      OptionalDouble bound,
      Found found,
      VelocityEngine right,
      List<VerificationPack> packs,
      Runnable goOn)
      throws EngineException {
    List<Verification> all = new ArrayList<>();
    for (int i = 0; i < packs.size(); i++) {
      goOn.run();
      float[] expected = run(right, packs.get(i));
      float[] velocities = found.velocities.get(i);
      all.add(measure(against, BACKEND, bound, packs.get(i).name(), velocities, expected));
    }
    return all;
  }

  private static List<Verification> sampled(
      String against, Found found, Bundle bundle, VelocityEngine right, Runnable goOn)
      throws IOException, EngineException {
    if (found.picture.isEmpty()) {
      return List.of();
    }
    goOn.run();
    VerificationPack pack = found.picture.get();
    return ShortSampling.compare(
        bundle,
        pack,
        against,
        BACKEND,
        OptionalDouble.of(SAMPLING_BOUND),
        found.latent,
        ShortSampling.latent(right, pack));
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
