package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.Bundle.SamplingDefaults;
import io.nit.core.cli.Cli;
import io.nit.core.cli.StopSignal;
import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.NitTensors;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.verify.ExportVerifier;
import io.nit.exporter.verify.Verification;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.CancellationException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** One export: checkpoint in, verified bundle out, or nothing. */
final class BundleExport {
  private static final Logger LOG = LoggerFactory.getLogger(BundleExport.class);
  static final String MODEL_FILE = "model.onnx";

  private final ExportOptions options;
  private final StopSignal stop;

  BundleExport(ExportOptions options, StopSignal stop) {
    this.options = options;
    this.stop = stop;
  }

  /**
   * Exports.
   *
   * @return the completed bundle
   * @throws IllegalArgumentException if checkpoint, config and options do not fit each other
   * @throws EngineException if the file does not run
   * @throws IOException if a file cannot be read or written, or the verification fails
   * @throws CancellationException if the stop was asked for
   */
  Bundle run() throws IOException, EngineException {
    AutoencoderOptions learned = options.autoencoder().orElse(null);
    // Null, which a try statement passes over, where there is none.
    try (AutoencoderExport autoencoder = learned == null ? null : AutoencoderExport.open(learned);
        TensorSource checkpoint = TensorSource.open(options.checkpoint())) {
      return run(checkpoint, Optional.ofNullable(autoencoder));
    }
  }

  private Bundle run(TensorSource checkpoint, Optional<AutoencoderExport> autoencoder)
      throws IOException, EngineException {
    CheckpointDescription description =
        CheckpointDescription.of(options, checkpoint, autoencoder.map(AutoencoderExport::spec));
    NitConfig config = description.config();
    NitTensors.require(config, checkpoint.specs(), checkpoint.where());
    LOG.info(
        "{}: {} parameters, config from {}, position order {}",
        checkpoint.where(),
        NitTensors.parameters(config, false),
        description.configFrom(),
        config.positionOrder().key());
    try (BundleFolder folder =
        new BundleFolder(options.output(), options.overwrite(), BundleFolder.Kind.MODEL, stop)) {
      List<Bundle.FileEntry> entries =
          folder.describe(
              write(new NitGraph(config, options.storage()), checkpoint, autoencoder, folder));
      ArrayNode verification = JsonNodeFactory.instance.arrayNode();
      if (options.verify()) {
        Bundle staged = bundle(folder.staging(), description, autoencoder, entries, verification);
        LOG.info("comparing with the plain Java reference");
        List<Verification> results =
            new ArrayList<>(
                ExportVerifier.verify(
                    staged,
                    checkpoint,
                    VerificationPack.of(config),
                    folder.staging(),
                    () -> WeightProgress.requireGoOn(stop)));
        if (autoencoder.isPresent()) {
          results.addAll(autoencoder.get().verify(folder.staging(), stop));
        }
        VerificationResults.take(results, verification);
      }
      Bundle bundle = bundle(folder.target(), description, autoencoder, entries, verification);
      folder.complete(entries, bundle::write);
      return bundle;
    }
  }

  /** Writes all files; data files come before those that use them. */
  private List<Path> write(
      NitGraph graph,
      TensorSource checkpoint,
      Optional<AutoencoderExport> autoencoder,
      BundleFolder folder)
      throws IOException {
    List<Path> written = new ArrayList<>();
    long bytes = graph.weightBytes() + autoencoder.map(AutoencoderExport::weightBytes).orElse(0L);
    try (WeightProgress progress = new WeightProgress(bytes, stop, options.quiet())) {
      OnnxFile file =
          folder.write(graph, checkpoint, MODEL_FILE, OnnxFile.EXTERNAL_DATA_ABOVE, progress);
      file.data().ifPresent(written::add);
      written.add(file.model());
      if (autoencoder.isPresent()) {
        written.addAll(autoencoder.get().write(folder, progress));
      }
    }
    return written;
  }

  private Bundle bundle(
      Path folder,
      CheckpointDescription description,
      Optional<AutoencoderExport> autoencoder,
      List<Bundle.FileEntry> files,
      ArrayNode verification)
      throws IOException {
    NitConfig config = description.config();
    SamplingDefaults standard = SamplingDefaults.STANDARD;
    // Guidance needs the null class.
    SamplingDefaults defaults =
        config.hasNullClass()
            ? standard
            : new SamplingDefaults(
                standard.steps(),
                standard.sampler(),
                1,
                standard.guidanceLow(),
                standard.guidanceHigh());
    return new Bundle(
        folder,
        config,
        MODEL_FILE,
        options.storage().name(),
        NitGraph.OPSET,
        description.codec(),
        autoencoder.map(AutoencoderExport::files),
        description.labels(),
        options.maxTokens(),
        defaults,
        files,
        verification,
        provenance(description, autoencoder));
  }

  private ObjectNode provenance(
      CheckpointDescription description, Optional<AutoencoderExport> autoencoder)
      throws IOException {
    Path checkpoint = options.checkpoint();
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.put("tool", Cli.tool("nit-export", BundleExport.class))
        .put("checkpoint", checkpoint.toAbsolutePath().normalize().getFileName().toString())
        .put("config_from", description.configFrom())
        .put("created", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    if (Files.isRegularFile(checkpoint)) {
      node.put("checkpoint_bytes", Files.size(checkpoint));
    }
    autoencoder.ifPresent(export -> node.put("autoencoder", export.name()));
    return node;
  }
}
