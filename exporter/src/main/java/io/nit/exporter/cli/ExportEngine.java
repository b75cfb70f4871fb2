package io.nit.exporter.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.tensor.DType;
import io.nit.exporter.trt.BuildOptions;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;
import picocli.CommandLine.Parameters;

/** {@code nit-export engine}. */
@Command(
    name = "engine",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    description = {
      "Builds a TensorRT engine from a bundle, on the GPU that is to run it, and a manifest beside"
          + " it. One engine serves every size of picture: only tokens and images are dynamic.",
      "bf16 and f16 engines take the attention, norms and rotations of our CUDA library; f32 is for"
          + " checks and keeps to TensorRT's own operators. nit-run finds an engine that lies in"
          + " its bundle."
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  an engine for the bundle's own limit of tokens:",
      "    nit-export engine bundles/xl",
      "  for packs of up to 4096 tokens, with a longer search for fast kernels:",
      "    nit-export engine bundles/xl --buckets 512,4096 --optimization-level 5",
      "  before a server starts: builds only what no longer fits",
      "    nit-export engine bundles/xl --rebuild-on-mismatch",
      "  one build for this checkpoint and all that are fine-tuned from it:",
      "    nit-export engine bundles/xl --weight-stripped",
      "    nit-export refit bundles/xl/engine-bf16-stripped.plan bundles/tuned",
      "",
      "Exit codes: 0 done, 1 failed (also the verification), 2 bad usage, 130 stopped."
    })
final class ExportEngine implements Callable<Integer> {
  @Parameters(index = "0", paramLabel = "BUNDLE", description = "A bundle of nit-export.")
  private Path bundle;

  @Option(
      names = {"--output", "--out"},
      paramLabel = "FILE",
      description =
          "The engine, a name that ends with .plan; default: engine-PRECISION.plan in the bundle,"
              + " engine-PRECISION-stripped.plan without weights.")
  private Path output;

  @Option(
      names = "--precision",
      paramLabel = "TYPE",
      defaultValue = "bf16",
      description = "Type of the arithmetic: bf16, f16, f32; default: ${DEFAULT-VALUE}.")
  private String precision;

  @Mixin private EngineFlags flags;

  @Option(
      names = "--verify",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description =
          "Run the engine and compare it with a plain Java forward of the bundle's weights; fails"
              + " above a relative error of 5e-2 in bf16, 1e-2 in f16 and 1e-4 in f32. In bf16 it"
              + " also fails above 1.5 times the error that PyTorch's own bf16 makes, where the"
              + " trainer is on the class path. Default: ${DEFAULT-VALUE}.")
  private boolean verify;

  @Option(names = "--overwrite", description = "Replace an engine that is there already.")
  private boolean overwrite;

  @Option(
      names = "--rebuild-on-mismatch",
      description =
          "Replace an engine that is there already only if it does not fit this GPU, the versions,"
              + " the bundle or the options; else leave it.")
  private boolean rebuildOnMismatch;

  @Mixin private CommonOptions common;

  /** Made by picocli. */
  ExportEngine() {}

  @Override
  public Integer call() throws Exception {
    DType type =
        ExportOptions.type("--precision", precision, List.of(DType.BF16, DType.F16, DType.F32));
    Path plan = output == null ? standard(bundle, type, flags.traits().weights()) : output;
    requirePlanName(plan);
    Bundle model = Bundle.open(bundle);
    BuildOptions options = flags.options(model.maxTokens(), type, plan.toAbsolutePath());
    EngineExport export =
        new EngineExport(model, type, plan, options, command(plan), verify, common.quiet());
    if (Files.exists(plan) && rebuildOnMismatch && export.fits()) {
      System.out.println(plan);
      return Cli.DONE;
    }
    if (Files.exists(plan) && !overwrite && !rebuildOnMismatch) {
      throw new FileAlreadyExistsException(
          plan.toString(), null, "there is an engine already; --overwrite replaces it");
    }
    export.run();
    System.out.println(plan);
    return Cli.DONE;
  }

  /** The name that an engine of a bundle has unless another is asked for. */
  static Path standard(Path bundle, DType precision, EngineManifest.Weights weights) {
    return bundle.resolve(
        "engine-"
            + precision.name().toLowerCase(Locale.ROOT)
            + (weights == EngineManifest.Weights.STRIPPED ? "-stripped" : "")
            + EngineManifest.PLAN_SUFFIX);
  }

  /** Refuses a name that no plan has. */
  static void requirePlanName(Path plan) {
    if (!plan.toString().endsWith(EngineManifest.PLAN_SUFFIX)) {
      throw new IllegalArgumentException(
          "--output: expected a name that ends with "
              + EngineManifest.PLAN_SUFFIX
              + ", found "
              + plan);
    }
  }

  /** The line that builds the same engine again, from any folder. */
  private String command(Path plan) {
    StringBuilder line = new StringBuilder("nit-export engine ");
    line.append(ShellWord.of(bundle.toAbsolutePath().normalize().toString()));
    line.append(" --precision ").append(precision.toLowerCase(Locale.ROOT));
    if (output != null) {
      line.append(" --output ");
      line.append(ShellWord.of(plan.toAbsolutePath().normalize().toString()));
    }
    String given = flags.given();
    if (!given.isEmpty()) {
      line.append(' ').append(given);
    }
    return line.append(" --overwrite").toString();
  }
}
