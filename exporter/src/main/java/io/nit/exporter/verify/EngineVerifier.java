package io.nit.exporter.verify;

import io.nit.core.bundle.Bundle;
import io.nit.core.oracle.ForwardOracle;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Parity;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ProfileCheck;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.StringJoiner;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Compares an engine with the plain Java forward of the bundle's own weights: a forward of every
 * pack, one that fills each of its profiles, and a short sampling. What 16 bits cost depends on the
 * model; the bounds only find what is wrong. Where the trainer is on the class path, the engine is
 * also measured from its forward in single precision, a bf16 one beside PyTorch in bf16.
 */
public final class EngineVerifier {
  /** The backend that engines run on. */
  public static final String BACKEND = "tensorrt";

  /** What {@link Verification#against} says of the trainer's forward. */
  public static final String TRAINER = "trainer-f32";

  private static final Logger LOG = LoggerFactory.getLogger(EngineVerifier.class);

  private EngineVerifier() {}

  /**
   * Runs every pack that the engine holds through both, in each of the engine's networks, and fills
   * each profile with what these packs' velocities tell the result of ({@link ProfileCheck}): packs
   * of many tokens would take the reference minutes.
   *
   * @param bundle the bundle
   * @param folder where the engine and its manifest lie; takes a file that is removed again
   * @param weights the bundle's weights, in the shapes of a checkpoint
   * @param precision the engine's
   * @param device the GPU
   * @return one entry a pack and network, one or two a profile, then those of the sampling and of
   *     PyTorch
   * @throws EngineException if the engine does not load or run
   * @throws IOException if a file cannot be read
   */
  public static List<Verification> verify(
      Bundle bundle, Path folder, TensorSource weights, DType precision, int device)
      throws IOException, EngineException {
    Bundle engines = bundle.in(folder);
    DType storage = DType.parse(bundle.weights());
    if (storage == DType.F32) {
      return compare(bundle, engines, weights, precision, device);
    }
    // As floats in a file: the reference maps those and needs no heap for them.
    Path rounded = Files.createTempFile(folder, "rounded-", ".safetensors");
    try {
      ExportVerifier.round(weights, bundle.config(), storage, rounded);
      try (TensorSource stored = SafetensorsFile.open(rounded)) {
        return compare(bundle, engines, stored, precision, device);
      }
    } finally {
      Files.deleteIfExists(rounded);
    }
  }

  private static List<Verification> compare(
      Bundle bundle, Bundle engines, TensorSource weights, DType precision, int device)
      throws IOException, EngineException {
    List<Verification> all = new ArrayList<>();
    EngineOptions options = new EngineOptions(0, device, EngineOptions.DecodeOptions.STANDARD);
    try (VelocityEngine engine = Engines.open(engines, BACKEND, options)) {
      List<VerificationPack> packs =
          VerificationPack.of(engines.config()).stream()
              .filter(pack -> holds(engine, pack))
              .toList();
      try (ReferenceEngine reference = ReferenceEngine.open(weights, engines.config())) {
        for (int i = 0; i < packs.size(); i++) {
          float[] expected = ExportVerifier.run(reference, packs.get(i));
          all.addAll(measured(engine, expected, packs.get(i), ProfileCheck.bound(precision)));
          if (i == 0) {
            all.addAll(filled(engine, expected, packs.get(i), ProfileCheck.bound(precision)));
          }
        }
        Optional<VerificationPack> picture = ShortSampling.pack(packs);
        if (picture.isPresent()) {
          all.addAll(sampled(bundle, picture.get(), engine, reference));
        }
      }
      List<VerificationPack> wide = new ArrayList<>(packs);
      VerificationPack mixed = VerificationPack.mixed(engines.config());
      if (holds(engine, mixed)) {
        wide.add(mixed);
      }
      all.addAll(againstTrainer(engine, weights, wide, precision));
    }
    return all;
  }

  /** A pack's velocities of each of an engine's networks. */
  static List<Verification> measured(
      VelocityEngine engine, float[] expected, VerificationPack pack, double bound)
      throws EngineException {
    List<Verification> all = new ArrayList<>();
    for (VelocityEngine variant : engine.variants()) {
      if (holds(variant, pack)) {
        all.add(
            ExportVerifier.measure(
                "reference",
                engine.backend(),
                OptionalDouble.of(bound),
                pack.name() + suffix(engine, variant),
                ExportVerifier.run(variant, pack),
                expected));
      }
    }
    return all;
  }

  /** Velocities of packs that fill the engine's profiles. */
  static List<Verification> filled(
      VelocityEngine engine, float[] expected, VerificationPack pack, double bound)
      throws EngineException {
    List<Verification> all = new ArrayList<>();
    for (ProfileCheck.Result result : ProfileCheck.run(engine, pack.inputs(), expected)) {
      all.add(
          new Verification(
              result.against().equals(ProfileCheck.SMALL_PACK) ? "reference" : result.against(),
              engine.backend(),
              result.tokens() + " tokens: " + result.pack(),
              result.parity().maxAbs(),
              result.parity().relative(),
              OptionalDouble.of(result.most(bound))));
    }
    return all;
  }

  private static boolean holds(VelocityEngine engine, VerificationPack pack) {
    PackLayout layout = pack.inputs().layout();
    return layout.tokens() <= engine.maxTokens() && layout.images() <= engine.maxImages();
  }

  private static String suffix(VelocityEngine engine, VelocityEngine variant) {
    return engine.variants().size() > 1 ? ", " + variant.description() : "";
  }

  /** A few steps from the same noise on both: how far the latents are apart, and the pictures. */
  static List<Verification> sampled(
      Bundle bundle, VerificationPack pack, VelocityEngine engine, VelocityEngine reference)
      throws IOException, EngineException {
    // What 16 bits come to over several steps has no bound.
    return ShortSampling.compare(
        bundle,
        pack,
        "reference",
        BACKEND,
        OptionalDouble.empty(),
        ShortSampling.latent(engine, pack),
        ShortSampling.latent(reference, pack));
  }

  /**
   * The errors of each of an engine's networks over all packs together, as a few values alone say
   * little; of a bf16 engine beside PyTorch's own in bf16.
   *
   * @param engine what computes
   * @param weights its weights, in the shapes of a checkpoint
   * @param precision the engine's
   * @return one entry a network; empty where there is no trainer, which is logged
   * @throws EngineException if the engine does not run
   * @throws IOException if a weight cannot be read
   */
  public static List<Verification> againstTrainer(
      VelocityEngine engine, TensorSource weights, List<VerificationPack> packs, DType precision)
      throws IOException, EngineException {
    Optional<ForwardOracle> oracle =
        ForwardOracle.find(reason -> LOG.info("not compared with the trainer: {}", reason));
    if (oracle.isEmpty() || packs.isEmpty()) {
      return List.of();
    }
    LOG.info("comparing with the trainer's forward: {}", oracle.get().description());
    boolean ratio = precision == DType.BF16;
    List<float[]> expected = new ArrayList<>();
    List<float[]> torch = new ArrayList<>();
    try (ForwardOracle.Forward trainer = oracle.get().open(engine.config(), weights)) {
      for (VerificationPack pack : packs) {
        ForwardInputs in = pack.inputs();
        float[] x = new float[in.x().remaining()];
        in.x().duplicate().get(x);
        expected.add(trainer.velocities(in.layout(), x, in.t(), in.y(), DType.F32));
        if (ratio) {
          torch.add(trainer.velocities(in.layout(), x, in.t(), in.y(), DType.BF16));
        }
      }
    }
    List<Verification> all = new ArrayList<>();
    for (VelocityEngine variant : engine.variants()) {
      FloatBuffer right = FloatBuffer.allocate(values(packs));
      FloatBuffer theirs = FloatBuffer.allocate(values(packs));
      FloatBuffer found = FloatBuffer.allocate(values(packs));
      StringJoiner names = new StringJoiner(", ");
      for (int i = 0; i < packs.size(); i++) {
        if (holds(variant, packs.get(i))) {
          right.put(expected.get(i));
          found.put(ExportVerifier.run(variant, packs.get(i)));
          names.add(packs.get(i).name());
          if (ratio) {
            theirs.put(torch.get(i));
          }
        }
      }
      Parity parity = Parity.of(written(found), written(right));
      all.add(
          new Verification(
              TRAINER,
              engine.backend(),
              names + suffix(engine, variant),
              parity.maxAbs(),
              parity.relative(),
              ratio ? OptionalDouble.empty() : OptionalDouble.of(ProfileCheck.bound(precision)),
              ratio
                  ? OptionalDouble.of(Parity.of(written(theirs), written(right)).relative())
                  : OptionalDouble.empty(),
              OptionalDouble.empty()));
    }
    return all;
  }

  private static int values(List<VerificationPack> packs) {
    return packs.stream().mapToInt(pack -> pack.inputs().x().remaining()).sum();
  }

  private static float[] written(FloatBuffer buffer) {
    return Arrays.copyOf(buffer.array(), buffer.position());
  }
}
