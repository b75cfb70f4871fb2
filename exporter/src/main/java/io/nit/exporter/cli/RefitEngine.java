package io.nit.exporter.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.tensor.DType;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code nit-export refit}. */
@Command(
    name = "refit",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Puts a bundle's weights into an engine that was built with --refittable or --weight-stripped"
          + " from a bundle of the same shape: seconds where a build takes minutes. The engine is"
          + " left as it is, and a new one with its manifest is written.",
      "All weights are exchanged, those of norms and embeddings too, and the result is verified"
          + " like one that was built."
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  an engine for a fine-tuned checkpoint:",
      "    nit-export refit bundles/xl/engine-bf16-stripped.plan bundles/tuned",
      "  the next one in its place, with the pipeline closed:",
      "    nit-export refit bundles/tuned/engine-bf16.plan bundles/tuned --overwrite",
      "",
      "Exit codes: 0 done, 1 failed (also the verification), 2 bad usage;",
      "130 stopped by Ctrl-C, 143 by SIGTERM."
    })
final class RefitEngine implements Callable<Integer> {
  @Parameters(
      index = "0",
      paramLabel = "PLAN",
      description = "An engine of nit-export engine, with its manifest beside it.")
  private Path plan;

  @Parameters(index = "1", paramLabel = "BUNDLE", description = "The bundle with the weights.")
  private Path bundle;

  @Option(
      names = {"--output", "--out"},
      paramLabel = "FILE",
      description =
          "The new engine, a name that ends with .plan; default: engine-PRECISION.plan in BUNDLE.")
  private Path output;

  @Option(
      names = "--device",
      paramLabel = "N",
      defaultValue = "0",
      description = "The GPU; default: ${DEFAULT-VALUE}.")
  private int device;

  @Option(
      names = "--verify",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description = "Verify as nit-export engine does. Default: ${DEFAULT-VALUE}.")
  private boolean verify;

  @Option(names = "--overwrite", description = "Replace an engine that is there already.")
  private boolean overwrite;

  @Mixin private CommonOptions common;

  /** Made by picocli. */
  RefitEngine() {}

  @Override
  public Integer call() throws Exception {
    if (device < 0) {
      throw new IllegalArgumentException("--device: expected 0 or more, found " + device);
    }
    Bundle model = Bundle.open(bundle);
    EngineManifest source = EngineManifest.read(plan);
    Path target =
        output == null
            ? ExportEngine.standard(
                bundle, DType.parse(source.precision()), EngineManifest.Weights.REFITTABLE)
            : output;
    ExportEngine.requirePlanName(target);
    if (Files.exists(target) && !overwrite) {
      throw new FileAlreadyExistsException(
          target.toString(), null, "there is an engine already; --overwrite replaces it");
    }
    new EngineRefit(source, plan, model, target, device, verify, common.quiet())
        .run(EngineFolder.install());
    System.out.println(target);
    return Cli.DONE;
  }
}
