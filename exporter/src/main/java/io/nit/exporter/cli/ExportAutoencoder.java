package io.nit.exporter.cli;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.AutoencoderBundle;
import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.StopSignal;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.file.Path;
import java.time.Instant;
import java.time.temporal.ChronoUnit;
import java.util.List;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-export autoencoder}. */
@Command(
    name = "autoencoder",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Turns a DC-AE in diffusers' folder layout into two ONNX files, encoder.onnx and"
          + " decoder.onnx, whose batch, height and width are dynamic, and a manifest,"
          + " autoencoder.json.",
      "Neither file applies the scaling factor: multiply what the encoder gives, divide what the"
          + " decoder takes."
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  the released f32c32:",
      "    nit-export autoencoder --autoencoder dc-ae-f32c32-sana-1.1-diffusers \\",
      "        --output onnx/f32c32",
      "  one that nit-train autoencoder left, in half the disk space:",
      "    nit-export autoencoder --autoencoder runs/ae/autoencoder \\",
      "        --autoencoder-dtype bf16 --output onnx/ae",
      "",
      "Exit codes: 0 done, 1 failed (also the verification), 2 bad usage;",
      "130 stopped by Ctrl-C, 143 by SIGTERM (nothing is left)."
    })
final class ExportAutoencoder implements Callable<Integer> {
  @Mixin private AutoencoderFlags autoencoder;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "DIR",
      description = "The folder of the files, new or empty.")
  private Path output;

  @Mixin private CheckFlags check;

  @Mixin private CommonOptions common;

  /** Made by picocli. */
  ExportAutoencoder() {}

  @Override
  public Integer call() throws Exception {
    AutoencoderOptions options =
        autoencoder
            .options(DType.F32)
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        "--autoencoder: expected a folder, found nothing"));
    StopSignal stop = StopSignal.install();
    AutoencoderBundle done =
        export(options, output, check.verify(), check.overwrite(), common.quiet(), stop);
    System.out.println(done.folder());
    return Cli.DONE;
  }

  /**
   * Exports.
   *
   * @return the completed folder
   * @throws IllegalArgumentException if weights, config and options do not fit each other
   * @throws EngineException if a file does not run
   * @throws IOException if a file cannot be read or written, or the verification fails
   * @throws CancellationException if the stop was asked for
   */
  static AutoencoderBundle export(
      AutoencoderOptions options,
      Path output,
      boolean verify,
      boolean overwrite,
      boolean quiet,
      StopSignal stop)
      throws IOException, EngineException {
    try (AutoencoderExport export = AutoencoderExport.open(options);
        BundleFolder folder =
            new BundleFolder(output, overwrite, BundleFolder.Kind.AUTOENCODER, stop)) {
      List<Path> written;
      try (WeightProgress progress = new WeightProgress(export.weightBytes(), stop, quiet)) {
        written = export.write(folder, progress);
      }
      List<Bundle.FileEntry> entries = folder.describe(written);
      ArrayNode verification = JsonNodeFactory.instance.arrayNode();
      if (verify) {
        VerificationResults.take(export.verify(folder.staging(), stop), verification);
      }
      ObjectNode provenance = JsonNodeFactory.instance.objectNode();
      provenance
          .put("tool", Cli.tool("nit-export", ExportAutoencoder.class))
          .put("autoencoder", export.name())
          .put("created", Instant.now().truncatedTo(ChronoUnit.SECONDS).toString());
      AutoencoderBundle bundle =
          new AutoencoderBundle(
              folder.target(),
              export.spec(),
              export.files(),
              DcAeGraph.OPSET,
              entries,
              verification,
              provenance);
      folder.complete(entries, bundle::write);
      return bundle;
    }
  }
}
