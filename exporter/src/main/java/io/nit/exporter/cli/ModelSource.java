package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.bundle.PackPlan;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Machine;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.OnnxWeights;
import io.nit.exporter.trt.SmallPackKernels;
import io.nit.exporter.trt.TrtModel;
import io.nit.exporter.trt.TrtNetwork;
import io.nit.exporter.verify.EngineVerifier;
import io.nit.runtime.engine.EngineException;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import java.util.function.Consumer;

/**
 * The model of a bundle, for an engine.
 *
 * @param bundle the bundle
 * @param precision type of the engine's arithmetic
 * @param smallPacks whether packs of few tokens get a plan of their own
 */
record ModelSource(Bundle bundle, DType precision, SmallPackKernels smallPacks)
    implements EngineSource {
  @Override
  public Path folder() {
    return bundle.folder();
  }

  @Override
  public EngineSubject subject(BuildOptions options) {
    return new EngineSubject.Model(
        bundle.config(),
        options.buckets().stream()
            .map(
                bucket ->
                    new EngineManifest.Profile(
                        bucket, options.images(bucket), options.plan(bucket)))
            .toList());
  }

  @Override
  public Optional<String> hash() {
    return EngineManifest.modelHash(bundle);
  }

  @Override
  public Optional<PluginLibrary> plugins(Machine machine) throws IOException, EngineException {
    if (precision == DType.F32) {
      return Optional.empty();
    }
    try {
      return Optional.of(machine.plugins());
    } catch (FileNotFoundException e) {
      throw new EngineException("an engine in " + precision + ": " + e.getMessage(), e);
    }
  }

  /**
   * Refuses options that no GPU can have.
   *
   * @throws IllegalArgumentException if a plan for small packs is asked for and cannot be had
   */
  void requirePossible(BuildOptions options) {
    Optional<String> refusal = refusal(options);
    if (smallPacks == SmallPackKernels.ON && refusal.isPresent()) {
      throw new IllegalArgumentException(SmallPackKernels.FLAG + " on: " + refusal.get());
    }
  }

  private Optional<String> refusal(BuildOptions options) {
    return SmallPackKernels.refusal(
        bundle.config(), precision, options.traits(), options.buckets());
  }

  @Override
  public BuildOptions optionsOn(
      BuildOptions options,
      String computeCapability,
      Optional<PluginLibrary> plugins,
      Consumer<String> say)
      throws EngineException {
    if (smallPacks == SmallPackKernels.OFF) {
      return options.withSmallPlan(false);
    }
    Optional<String> refusal =
        refusal(options)
            .or(() -> SmallPackKernels.refusalOn(computeCapability, plugins.orElseThrow()));
    if (refusal.isPresent() && smallPacks == SmallPackKernels.ON) {
      throw new EngineException(SmallPackKernels.FLAG + " on: " + refusal.get());
    }
    refusal.ifPresent(reason -> say.accept("small packs in the plan of all packs: " + reason));
    return options.withSmallPlan(refusal.isEmpty());
  }

  @Override
  public TrtNetwork write(Path target, BuildOptions options) throws IOException {
    return write(target, options.packPlans());
  }

  /** Writes the networks of an engine with these plans. */
  TrtNetwork write(Path target, List<PackPlan> plans) throws IOException {
    return TrtModel.write(
        bundle.model(), precision, plans, target, OnnxFile.EXTERNAL_DATA_ABOVE, bytes -> {});
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
