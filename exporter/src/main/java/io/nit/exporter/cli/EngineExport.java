package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Mismatch;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.cli.Cli;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.io.Sha256;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.Machine;
import io.nit.core.trt.PlanLayers;
import io.nit.core.trt.TensorRt;
import io.nit.core.trt.TensorRtException;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.EngineBuilder;
import io.nit.exporter.trt.EngineRefitter;
import io.nit.exporter.trt.TrtNetwork;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Builds an engine with its manifest. Everything is made in a temporary folder beside the plan,
 * verified there, and moved into place, the manifest last.
 *
 * @param source what it is built from
 * @param plan the file to make or replace
 * @param options how TensorRT builds
 * @param command the line that builds the same again, for the manifest
 * @param verify whether to compare the engine with the reference
 * @param quiet whether to show no progress
 */
record EngineExport(
    EngineSource source,
    Path plan,
    BuildOptions options,
    String command,
    boolean verify,
    boolean quiet) {
  /** In a refitted engine's provenance: that of the engine that it was made from. */
  static final String REFITTED_FROM = "built";

  private static final Logger LOG = LoggerFactory.getLogger(EngineExport.class);
  private static final String OPTIMIZATION_LEVEL = "optimization_level";
  private static final String WORKSPACE_BYTES = "workspace_bytes";

  /**
   * Builds.
   *
   * @param temporary where to make it
   * @throws EngineException if there is no GPU, TensorRT or plugin library, which says what was
   *     looked for; or if TensorRT does not take the model
   * @throws IOException if a file cannot be read or written, or the verification fails
   */
  void run(EngineFolder temporary) throws IOException, EngineException {
    requireTensorRt(options.device());
    temporary.make(plan, staging -> build(temporary, staging));
  }

  /** Refuses a machine that has no such GPU or no TensorRT. */
  static void requireTensorRt(int device) throws EngineException {
    require(TensorRt.refusal(device));
  }

  private static void require(Optional<String> refusal) throws EngineException {
    if (refusal.isPresent()) {
      throw new EngineException("no engine can be built here: " + refusal.get());
    }
  }

  /**
   * Whether the engine that is there is the one that {@link #run} would build; says what differs.
   *
   * @param machine where it is to run
   * @throws EngineException if there is no GPU or TensorRT to tell it
   * @throws IOException if the engine's file cannot be read
   */
  boolean fits(Machine machine) throws IOException, EngineException {
    Optional<String> misfit = misfit(machine);
    misfit.ifPresent(this::say);
    return misfit.isEmpty();
  }

  /** Why the engine that is there is not the one that {@link #run} would build; empty if it is. */
  Optional<String> misfit(Machine machine) throws IOException, EngineException {
    require(machine.refusal(options.device()));
    EngineManifest found;
    try {
      found = EngineManifest.read(plan);
    } catch (NoSuchFileException e) {
      return Optional.of(plan + " has no manifest");
    } catch (IOException e) {
      return Optional.of(plan + " has no manifest that can be read: " + e.getMessage());
    }
    Path folder = plan.toAbsolutePath().getParent();
    List<Mismatch> mismatches;
    BuildOptions here;
    try {
      Optional<PluginLibrary> plugins = source.plugins(machine);
      EngineManifest.Host host = machine.host(options.device(), plugins);
      mismatches = found.mismatches(host, folder, source.hash());
      // The build says what it chose; where there is none, nothing is chosen.
      here = source.optionsOn(options, host.computeCapability(), plugins, line -> {});
    } catch (TensorRtException e) {
      throw new EngineException(e.getMessage(), e);
    }
    mismatches.addAll(
        found.differences(source.precision().name(), source.subject(here), options.traits()));
    mismatches.addAll(buildDifferences(found));
    if (mismatches.isEmpty()) { // reading gigabytes tells nothing more of one that does not fit
      found.planDifference(folder).ifPresent(mismatches::add);
    }
    return mismatches.isEmpty()
        ? Optional.empty()
        : Optional.of(found.refusal(mismatches, place()));
  }

  /** Every way in which an engine was built or verified otherwise than is asked for. */
  private List<Mismatch> buildDifferences(EngineManifest found) {
    JsonNode built = found.provenance();
    while (built.path(REFITTED_FROM).isObject()) {
      built = built.path(REFITTED_FROM);
    }
    List<Mismatch> all = new ArrayList<>();
    compare(all, built, OPTIMIZATION_LEVEL, options.optimizationLevel());
    compare(all, built, WORKSPACE_BYTES, options.workspaceBytes());
    if (verify && found.verification().isEmpty()) {
      all.add(new Mismatch("verification", "none", "asked for"));
    }
    return all;
  }

  private static void compare(List<Mismatch> all, JsonNode built, String field, long wanted) {
    String found = built.path(field).asText("not known");
    if (!found.equals(Long.toString(wanted))) {
      all.add(new Mismatch(field, found, Long.toString(wanted)));
    }
  }

  private EngineManifest.Place place() {
    return new EngineManifest.Place(plan, source.folder(), options.device());
  }

  private void build(EngineFolder temporary, Path staging)
      throws IOException, EngineException, TensorRtException {
    Optional<PluginLibrary> plugins = source.plugins(Machine.here());
    plugins.ifPresent(library -> say(library.toString()));
    Gpu gpu = Gpu.open(options.device());
    BuildOptions here = source.optionsOn(options, gpu.computeCapability(), plugins, this::say);
    TrtNetwork model = source.write(staging.resolve("model.onnx"), here);
    Path staged = staging.resolve(plan.getFileName());
    EngineBuilder.Built built = EngineBuilder.build(model, plugins, here, staged, this::say);
    for (int i = 0; i < built.layers().size(); i++) {
      PlanLayers layers = built.layers().get(i);
      say("plan %d: %d layers, plugins %s".formatted(i + 1, layers.layers(), layers.plugins()));
    }
    say(
        String.format(
            Locale.ROOT,
            "%s of %d MiB opens in %.1f s",
            plan.getFileName(),
            built.bytes() >> 20,
            built.openSeconds()));
    String hash = Sha256.of(staged);
    EngineSubject subject = source.subject(here);
    ArrayNode verification = JsonNodeFactory.instance.arrayNode();
    EngineManifest manifest = manifest(built, hash, plugins, subject, verification);
    // Here it would name the temporary folder, which nobody can build in again.
    manifest.withCommand(manifest.command(place())).write(staging);
    if (verify) {
      source.verify(filled(staged, model, plugins), options.device(), verification);
    }
    temporary.complete(staged, manifest);
  }

  /** The folder of the engine as it runs: of one without weights, of a copy that has them. */
  private Path filled(Path staged, TrtNetwork model, Optional<PluginLibrary> plugins)
      throws IOException, TensorRtException {
    Path staging = staged.getParent();
    if (options.traits().weights() != EngineManifest.Weights.STRIPPED) {
      return staging;
    }
    Path folder = Files.createDirectories(staging.resolve("filled"));
    Path target = folder.resolve(plan.getFileName());
    EngineRefitter.Refitted made =
        EngineRefitter.refit(
            staged, plugins, options.device(), options.traits().versionCompatible(), model, target);
    say(
        String.format(
            Locale.ROOT,
            "for the verification: %d weights put in within %.1f s, %d MiB",
            made.weights(),
            made.seconds(),
            made.bytes() >> 20));
    EngineManifest.read(staged)
        .withPlan(target, Sha256.of(target), EngineManifest.Weights.REFITTABLE)
        .write(folder);
    return folder;
  }

  private EngineManifest manifest(
      EngineBuilder.Built built,
      String hash,
      Optional<PluginLibrary> plugins,
      EngineSubject subject,
      ArrayNode verification) {
    ObjectNode provenance =
        JsonNodeFactory.instance
            .objectNode()
            .put("tool", Cli.tool("nit-export", EngineExport.class))
            .put(OPTIMIZATION_LEVEL, options.optimizationLevel())
            .put(WORKSPACE_BYTES, options.workspaceBytes())
            .put("build_seconds", Math.round(built.buildSeconds() * 10) / 10.0)
            .put("created", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    return new EngineManifest(
        plan.getFileName().toString(),
        built.bytes(),
        hash,
        source.hash().orElse("unknown"),
        subject,
        source.precision().name(),
        built.gpu().host(plugins),
        options.traits(),
        verification,
        command,
        provenance);
  }

  private void say(String line) {
    if (!quiet) {
      LOG.info("{}", line);
    }
  }
}
