package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.Bundle.SamplingDefaults;
import io.nit.core.cli.Cli;
import io.nit.core.cli.Progress;
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
import java.nio.file.FileSystemException;
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
    try (TensorSource checkpoint = TensorSource.open(options.checkpoint())) {
      CheckpointDescription description = CheckpointDescription.of(options, checkpoint);
      NitConfig config = description.config();
      NitTensors.require(config, checkpoint.specs(), checkpoint.where());
      LOG.info(
          "{}: {} parameters, config from {}, position order {}",
          checkpoint.where(),
          NitTensors.parameters(config, false),
          description.configFrom(),
          config.positionOrder().key());
      try (BundleFolder folder = new BundleFolder(options.output(), options.overwrite())) {
        OnnxFile file = write(new NitGraph(config, options.storage()), checkpoint, folder);
        List<Bundle.FileEntry> entries = new ArrayList<>();
        for (Optional<Path> part : List.of(file.data(), Optional.of(file.model()))) {
          if (part.isPresent()) {
            requireGoOn();
            entries.add(Bundle.describe(part.get()));
          }
        }
        ArrayNode verification = JsonNodeFactory.instance.arrayNode();
        if (options.verify()) {
          Bundle staged = bundle(folder.staging(), description, entries, verification);
          verify(staged, checkpoint, folder.staging(), verification);
        }
        requireGoOn();
        Bundle bundle = bundle(folder.target(), description, entries, verification);
        folder.complete(bundle);
        return bundle;
      }
    }
  }

  private OnnxFile write(NitGraph graph, TensorSource checkpoint, BundleFolder folder)
      throws IOException {
    try (Progress progress =
        Progress.start("export", graph.weightBytes() >> 20, 0, " MiB", options.quiet())) {
      long[] written = {0};
      return OnnxFile.write(
          graph,
          checkpoint,
          folder.staging().resolve(MODEL_FILE),
          OnnxFile.EXTERNAL_DATA_ABOVE,
          bytes -> {
            requireGoOn();
            long before = written[0] >> 20;
            written[0] += bytes;
            progress.step((written[0] >> 20) - before);
          });
    } catch (FileSystemException e) {
      throw e;
    } catch (IOException e) {
      // A full disk has no name of its own in Java's message.
      throw new IOException(
          "cannot write " + folder.target().resolve(MODEL_FILE) + ": " + e.getMessage(), e);
    }
  }

  private void verify(Bundle staged, TensorSource checkpoint, Path scratch, ArrayNode into)
      throws IOException, EngineException {
    LOG.info("comparing with the plain Java reference");
    List<String> failures = new ArrayList<>();
    for (Verification result :
        ExportVerifier.verify(staged, checkpoint, VerificationPack.of(staged.config()), scratch)) {
      LOG.info("{}", result);
      into.add(result.toNode());
      if (!result.passed()) {
        failures.add(result.toString());
      }
    }
    if (!failures.isEmpty()) {
      throw new IOException(
          "the exported file does not compute what the checkpoint does, no bundle is left:\n  "
              + String.join("\n  ", failures));
    }
  }

  private Bundle bundle(
      Path folder,
      CheckpointDescription description,
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
        Optional.empty(),
        description.labels(),
        options.maxTokens(),
        defaults,
        files,
        verification,
        provenance(description));
  }

  private ObjectNode provenance(CheckpointDescription description) throws IOException {
    Path checkpoint = options.checkpoint();
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.put("tool", Cli.tool("nit-export", BundleExport.class))
        .put("checkpoint", checkpoint.toAbsolutePath().normalize().getFileName().toString())
        .put("config_from", description.configFrom())
        .put("created", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
    if (Files.isRegularFile(checkpoint)) {
      node.put("checkpoint_bytes", Files.size(checkpoint));
    }
    return node;
  }

  private void requireGoOn() {
    if (stop.requested()) {
      throw new CancellationException("stopped; no bundle is left");
    }
  }
}
