package io.nit.runtime.trt;

import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Found;
import io.nit.core.bundle.EnginePart;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.core.io.ShellWord;
import io.nit.core.tensor.DType;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * TensorRT on an NVIDIA GPU, for bundles that hold an engine which fits. Loads nothing of TensorRT
 * for a bundle without an engine.
 */
public final class TensorRtProvider implements EngineProvider {
  private static final Logger LOG = LoggerFactory.getLogger(TensorRtProvider.class);

  private final PlanCheck check;

  /** Made by the service loader. */
  public TensorRtProvider() {
    this(new PlanCheck());
  }

  /** With another machine's check. */
  TensorRtProvider(PlanCheck check) {
    this.check = check;
  }

  @Override
  public String name() {
    return TensorRtEngine.NAME;
  }

  @Override
  public boolean runsOnGpu() {
    return true;
  }

  @Override
  public int preference() {
    return 30;
  }

  @Override
  public Optional<String> refusal(Bundle bundle, EngineOptions options) {
    return refusal(bundle, EnginePart.MODEL, options);
  }

  @Override
  public VelocityEngine open(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    Choice choice = choose(bundle, EnginePart.MODEL, options);
    if (choice.fitting.isEmpty()) {
      throw new EngineException(choice.refusal);
    }
    warn(choice, EnginePart.MODEL);
    return TensorRtEngine.open(
        choice.fitting.get(0), new TensorRtEngine.Options(options.device(), true));
  }

  @Override
  public boolean runsCodecs() {
    return true;
  }

  @Override
  public Optional<String> codecRefusal(Bundle bundle, EngineOptions options) {
    return refusal(bundle, EnginePart.DECODER, options);
  }

  @Override
  public Optional<String> encoderRefusal(Bundle bundle, EngineOptions options) {
    return refusal(bundle, EnginePart.ENCODER, options);
  }

  /**
   * {@inheritDoc}
   *
   * <p>A half without an engine that fits is left out, and the codec refuses what needs it.
   */
  @Override
  public LatentCodec openCodec(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    List<Found> engines = EngineManifest.allIn(bundle.folder());
    Choice decoders = choose(bundle, engines, EnginePart.DECODER, options);
    Choice encoders = choose(bundle, engines, EnginePart.ENCODER, options);
    if (decoders.fitting.isEmpty() && encoders.fitting.isEmpty()) {
      throw new EngineException(decoders.refusal);
    }
    warn(decoders, EnginePart.DECODER);
    Optional<CheckedPlan> decoder = decoders.fitting.stream().findFirst();
    Optional<CheckedPlan> single =
        decoders.fitting.stream()
            .skip(1) // the decoder
            .filter(fitting -> fitting.manifest().precision().equals(DType.F32.name()))
            .findFirst();
    return TensorRtAutoencoder.open(
        new TensorRtAutoencoder.Plans(decoder, single, encoders.fitting.stream().findFirst()),
        (DcAeSpec) bundle.codec().orElseThrow(),
        options);
  }

  /**
   * An engine of a bundle.
   *
   * @param found the plan and its manifest
   * @param refusal why it does not run here; empty if it does, or its manifest cannot be read
   */
  public record Listed(Found found, Optional<String> refusal) {}

  /**
   * All engines of a bundle: of each part the preferred first, and last those whose manifest cannot
   * be read. Opens none, and does not compare their hashes.
   *
   * @param device number of the GPU that is to run them
   * @throws IOException if the bundle's folder cannot be read
   */
  public List<Listed> engines(Bundle bundle, int device) throws IOException {
    return EngineManifest.allIn(bundle.folder()).stream()
        .sorted(
            Comparator.comparing(
                found -> found.manifest().map(there -> there.subject().part()).orElse(null),
                Comparator.nullsLast(Comparator.naturalOrder())))
        .map(
            found ->
                new Listed(
                    found,
                    found
                        .manifest()
                        .flatMap(
                            there ->
                                refusal(bundle, new CheckedPlan(found.plan(), there, device)))))
        .toList();
  }

  /**
   * The plans of a part.
   *
   * @param fitting those that fit, the preferred first
   * @param unreadable why manifests, which may be of any part, cannot be read
   * @param refusal why none fits
   */
  private record Choice(List<CheckedPlan> fitting, List<String> unreadable, String refusal) {}

  private Optional<String> refusal(Bundle bundle, EnginePart part, EngineOptions options) {
    try {
      Choice choice = choose(bundle, part, options);
      return choice.fitting.isEmpty() ? Optional.of(choice.refusal) : Optional.empty();
    } catch (IOException e) {
      return Optional.of("its engines cannot be read: " + e.getMessage());
    }
  }

  private Choice choose(Bundle bundle, EnginePart part, EngineOptions options) throws IOException {
    return choose(bundle, EngineManifest.allIn(bundle.folder()), part, options);
  }

  /** Among engines of all parts. */
  private Choice choose(
      Bundle bundle, List<Found> engines, EnginePart part, EngineOptions options) {
    List<CheckedPlan> fitting = new ArrayList<>();
    List<String> refusals = new ArrayList<>();
    List<String> unreadable = new ArrayList<>();
    boolean ofAnyPart = false;
    for (Found found : engines) {
      if (found.manifest().isEmpty()) {
        unreadable.add("an engine's manifest cannot be read: " + found.problem());
        continue;
      }
      ofAnyPart = true;
      if (found.manifest().get().subject().part() == part) {
        CheckedPlan plan = new CheckedPlan(found.plan(), found.manifest().get(), options.device());
        refusal(bundle, plan).ifPresentOrElse(refusals::add, () -> fitting.add(plan));
      }
    }
    if (refusals.isEmpty()) {
      refusals.add(none(bundle, part, ofAnyPart));
    }
    refusals.addAll(unreadable);
    return new Choice(fitting, unreadable, String.join("; ", refusals));
  }

  /** Why a plan does not fit, or empty if it does; one that cannot be read is no other's fault. */
  private Optional<String> refusal(Bundle bundle, CheckedPlan plan) {
    EngineManifest manifest = plan.manifest();
    try {
      return check.refusal(
          plan.file(),
          manifest,
          bundle.folder(),
          hash(bundle, manifest.subject().part()),
          plan.device());
    } catch (IOException e) {
      return Optional.of(
          manifest.plan() + " cannot be read: " + e.getMessage() + ". " + plan.again());
    }
  }

  /** Tells what is passed over for what is opened. */
  private static void warn(Choice choice, EnginePart part) {
    choice.unreadable.forEach(reason -> LOG.warn("{}: {}", part.key(), reason));
  }

  private static Optional<String> hash(Bundle bundle, EnginePart part) {
    return switch (part) {
      case MODEL -> EngineManifest.modelHash(bundle);
      case DECODER ->
          bundle
              .autoencoder()
              .flatMap(files -> EngineManifest.hashOf(bundle.files(), files.decoder()));
      case ENCODER ->
          bundle
              .autoencoder()
              .flatMap(AutoencoderFiles::encoder)
              .flatMap(name -> EngineManifest.hashOf(bundle.files(), name));
    };
  }

  /** With {@code ofAnyPart}, there are engines of other parts. */
  private static String none(Bundle bundle, EnginePart part, boolean ofAnyPart) {
    String command = "nit-export engine " + ShellWord.of(bundle.folder().toString());
    return part == EnginePart.MODEL || !ofAnyPart // one command builds all parts
        ? "no engine in the bundle; " + command + " builds one on a GPU"
        : "no "
            + part.key()
            + "'s engine in the bundle; "
            + command
            + " --parts "
            + part.key()
            + " builds one on a GPU";
  }
}
