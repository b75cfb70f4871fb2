package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.bundle.EnginePart;
import io.nit.core.cli.Cli;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.io.Sha256;
import io.nit.core.io.ShellWord;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.Machine;
import io.nit.core.trt.TensorRtException;
import io.nit.exporter.trt.EngineRefitter;
import io.nit.exporter.trt.SmallPackKernels;
import io.nit.exporter.trt.TrtNetwork;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.Set;
import java.util.StringJoiner;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Puts a bundle's weights into an engine. The new plan is made and verified in a temporary folder
 * beside its place, and moved there, the manifest last.
 *
 * @param source the manifest of {@code plan}
 * @param plan an engine whose weights can be exchanged
 * @param bundle the bundle with the weights
 * @param target the file to make or replace
 * @param device the GPU's number
 * @param verify whether to compare the engine with the reference
 * @param quiet whether to show no progress
 */
record EngineRefit(
    EngineManifest source,
    Path plan,
    Bundle bundle,
    Path target,
    int device,
    boolean verify,
    boolean quiet) {
  private static final Logger LOG = LoggerFactory.getLogger(EngineRefit.class);

  /** What an engine does not depend on: positions come in as inputs, the REPA head is left out. */
  private static final Set<String> NOT_IN_THE_GRAPH =
      Set.of(
          "position_order",
          "custom_freqs",
          "theta",
          "decouple",
          "max_pe_len_h",
          "max_pe_len_w",
          "ori_max_pe_len",
          "encoder_depth",
          "projector_dim",
          "z_dim");

  /**
   * Refits.
   *
   * @param temporary where to make it
   * @throws IllegalArgumentException if the engine's weights are fixed, or the bundle's model is of
   *     another shape
   * @throws EngineException if there is no GPU, TensorRT or plugin library, or the engine does not
   *     fit them
   * @throws IOException if a file cannot be read or written, or the verification fails
   */
  void run(EngineFolder temporary) throws IOException, EngineException {
    requireFit();
    EngineExport.requireTensorRt(device);
    temporary.make(target, staging -> refit(temporary, staging));
  }

  private void requireFit() {
    if (source.traits().weights() == Weights.FIXED) {
      throw new IllegalArgumentException(
          plan
              + ": expected an engine built with --refittable or --weight-stripped, found one with"
              + " fixed weights");
    }
    ObjectNode found = bundle.config().toNode();
    StringJoiner differences = new StringJoiner("; ");
    source
        .config()
        .toNode()
        .properties()
        .forEach(
            field -> {
              JsonNode other = found.get(field.getKey());
              if (!NOT_IN_THE_GRAPH.contains(field.getKey()) && !field.getValue().equals(other)) {
                differences.add(
                    field.getKey() + ": expected " + field.getValue() + ", found " + other);
              }
            });
    if (differences.length() > 0) {
      throw new IllegalArgumentException(
          bundle.folder() + ": expected a model of the shape of " + plan + "; " + differences);
    }
  }

  private void refit(EngineFolder temporary, Path staging)
      throws IOException, EngineException, TensorRtException {
    ModelSource model =
        new ModelSource(bundle, DType.parse(source.precision()), SmallPackKernels.AUTO);
    Optional<PluginLibrary> plugins =
        source.builtOn().plugins().isPresent() ? model.plugins(Machine.here()) : Optional.empty();
    List<EngineManifest.Mismatch> mismatches =
        source.mismatches(
            Gpu.open(device).host(plugins), plan.toAbsolutePath().getParent(), Optional.empty());
    if (!mismatches.isEmpty()) {
      throw new EngineException(
          source.refusal(mismatches, new EngineManifest.Place(plan, builtFrom(), device)));
    }
    TrtNetwork weights = model.write(staging.resolve("model.onnx"), source.packPlans());
    Path staged = staging.resolve(target.getFileName());
    EngineRefitter.Refitted made =
        EngineRefitter.refit(
            plan, plugins, device, source.traits().versionCompatible(), weights, staged);
    if (!quiet) {
      LOG.info(
          String.format(
              Locale.ROOT,
              "%d weights put in within %.1f s, %d MiB%s",
              made.weights(),
              made.seconds(),
              made.bytes() >> 20,
              made.refittable() ? "" : "; they are fixed from here on"));
    }
    String hash = Sha256.of(staged);
    ArrayNode verification = JsonNodeFactory.instance.arrayNode();
    EngineManifest manifest = manifest(staged, hash, made, verification);
    // Here it would name the temporary folder, which nobody can build in again.
    manifest
        .withCommand(manifest.command(new EngineManifest.Place(target, bundle.folder(), device)))
        .write(staging);
    if (verify) {
      model.verify(staging, device, verification);
    }
    temporary.complete(staged, manifest);
  }

  /** The bundle of the engine: the one that it lies in, else one of the same shape. */
  private Path builtFrom() {
    Path folder = plan.toAbsolutePath().getParent();
    return Files.isRegularFile(folder.resolve(Bundle.MANIFEST)) ? folder : bundle.folder();
  }

  /**
   * The line that leads to an engine with the weights of the bundle that it is met in: one whose
   * weights can be exchanged is built with them, one without weights is built and then filled. It
   * may be built from that bundle, as its shape is that of the bundle it was built from.
   */
  static String command(EngineManifest source, Path plan) {
    boolean placed = source.command().contains(EngineManifest.BUNDLE);
    if (placed && source.traits().weights() != Weights.STRIPPED) {
      return source.command();
    }
    String built =
        placed
            ? EngineManifest.BUNDLE
                + "/"
                + EngineManifest.standardName(
                    EnginePart.MODEL, source.precision(), source.traits().weights())
            : ShellWord.absolute(plan);
    return source.command().replace(EngineManifest.OUTPUT, "")
        + " && nit-export refit "
        + built
        + " "
        + EngineManifest.BUNDLE
        + EngineManifest.OUTPUT
        + EngineManifest.DEVICE
        + " --overwrite";
  }

  private EngineManifest manifest(
      Path staged, String hash, EngineRefitter.Refitted made, ArrayNode verification)
      throws IOException {
    ObjectNode provenance =
        JsonNodeFactory.instance
            .objectNode()
            .put("tool", Cli.tool("nit-export", EngineRefit.class))
            .put("refit_seconds", Math.round(made.seconds() * 10) / 10.0)
            .put("created", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    provenance.set(EngineExport.REFITTED_FROM, source.provenance());
    return new EngineManifest(
        staged.getFileName().toString(),
        made.bytes(),
        hash,
        EngineManifest.modelHash(bundle).orElse("unknown"),
        bundle.config(),
        source.precision(),
        source.profiles(),
        source.builtOn(),
        source.traits().with(made.refittable() ? Weights.REFITTABLE : Weights.FIXED),
        verification,
        command(source, plan),
        provenance);
  }
}
