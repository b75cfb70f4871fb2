package io.nit.exporter.cli;

import static java.util.Locale.ROOT;

import io.nit.core.bundle.AutoencoderBundle;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EnginePart;
import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Machine;
import io.nit.exporter.trt.BuildOptions;
import java.io.IOException;
import java.nio.file.FileAlreadyExistsException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.Callable;
import java.util.stream.Collectors;
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
      "Builds TensorRT engines from a bundle, on the GPU that is to run them, and a manifest beside"
          + " each: of the model and, where its codec is a DC-AE, of the decoder and encoder. One"
          + " engine serves every size of picture: only tokens and images, or height and width, are"
          + " dynamic.",
      "bf16 and f16 engines take the attention, norms and rotations of our CUDA library; f32 is for"
          + " checks and keeps to TensorRT's own operators. nit-run finds an engine that lies in"
          + " its bundle."
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  an engine for the bundle's own limit of tokens:",
      "    nit-export engine bundles/xl",
      "  for packs of up to 4096 tokens, with a longer search for fast kernels:",
      "    nit-export engine bundles/xl --max-tokens 4096 --optimization-level 5",
      "  the decoder alone, for pictures of up to 1024 pixels a side:",
      "    nit-export engine bundles/xl --parts decoder --autoencoder-sizes 512,1024",
      "  before a server starts: builds only what no longer fits",
      "    nit-export engine bundles/xl --rebuild-on-mismatch",
      "  one build for this checkpoint and all that are fine-tuned from it:",
      "    nit-export engine bundles/xl --weight-stripped",
      "    nit-export refit bundles/xl/engine-bf16-stripped.plan bundles/tuned",
      "",
      "Exit codes: 0 done, 1 failed (also the verification), 2 bad usage;",
      "130 stopped by Ctrl-C, 143 by SIGTERM."
    })
final class ExportEngine implements Callable<Integer> {
  @Parameters(
      index = "0",
      paramLabel = "BUNDLE",
      description = "A bundle of nit-export, or an autoencoder that nit-export autoencoder left.")
  private Path bundle;

  @Option(
      names = "--parts",
      paramLabel = "PART,PART,...",
      split = ",",
      description =
          "What to build: some of model, decoder, encoder. Default: all that the bundle has; with"
              + " --output the model alone.")
  private List<String> parts;

  @Option(
      names = {"--output", "--out"},
      paramLabel = "FILE",
      description =
          "The engine of the one part that is built, a name that ends with .plan; default in the"
              + " bundle: engine-PRECISION.plan, engine-PRECISION-stripped.plan without weights,"
              + " decoder-PRECISION.plan, encoder-PRECISION.plan.")
  private Path output;

  @Option(
      names = "--precision",
      paramLabel = "TYPE",
      defaultValue = "bf16",
      description = "Type of the model's arithmetic: bf16, f16, f32; default: ${DEFAULT-VALUE}.")
  private String precision;

  @Mixin private EngineFlags flags;

  @Mixin private AutoencoderEngineFlags autoencoder;

  @Option(
      names = "--verify",
      negatable = true,
      defaultValue = "true",
      fallbackValue = "true",
      description =
          "Run the engine and compare it with a plain Java forward of the bundle's weights; fails"
              + " above a relative error of 5e-2 in bf16, 1e-2 in f16 and 1e-4 in f32. In bf16 it"
              + " also fails above 1.5 times the error that PyTorch's own bf16 makes, where the"
              + " trainer is on the class path. An autoencoder's engines are compared with ONNX"
              + " Runtime on the CPU, with bounds of 2e-1, 5e-2 and 1e-4. Default:"
              + " ${DEFAULT-VALUE}.")
  private boolean verify;

  @Option(names = "--overwrite", description = "Replace an engine that is there already.")
  private boolean overwrite;

  @Option(
      names = "--rebuild-on-mismatch",
      description =
          "Replace an engine that is there already only if it does not fit this GPU, the versions,"
              + " the bundle or the options, was not verified though --verify asks for it, or its"
              + " file is not its manifest's; else leave it.")
  private boolean rebuildOnMismatch;

  @Mixin private CommonOptions common;

  /** Made by picocli. */
  ExportEngine() {}

  @Override
  public Integer call() throws Exception {
    List<EngineExport> exports = exports();
    for (EngineExport export : exports) {
      if (Files.exists(export.plan()) && !overwrite && !rebuildOnMismatch) {
        throw new FileAlreadyExistsException(
            export.plan().toString(), null, "there is an engine already; --overwrite replaces it");
      }
    }
    EngineFolder temporary = EngineFolder.install();
    for (EngineExport export : exports) {
      if (!Files.exists(export.plan()) || !rebuildOnMismatch || !export.fits(Machine.here())) {
        export.run(temporary);
      }
      System.out.println(export.plan());
    }
    return Cli.DONE;
  }

  /**
   * What the options ask for.
   *
   * @throws IllegalArgumentException if they ask for what cannot be, naming the option
   * @throws IOException if the bundle cannot be read
   */
  List<EngineExport> exports() throws IOException {
    if (overwrite && rebuildOnMismatch) {
      throw new IllegalArgumentException(
          "--overwrite, --rebuild-on-mismatch: expected one of them, found both");
    }
    DType type =
        ExportOptions.type("--precision", precision, List.of(DType.BF16, DType.F16, DType.F32));
    List<EnginePart> wanted = wanted();
    if (output != null) {
      requirePlanName(output);
    }
    List<EngineExport> exports = new ArrayList<>();
    if (Files.exists(bundle.resolve(Bundle.MANIFEST))
        || !Files.exists(bundle.resolve(AutoencoderBundle.MANIFEST))) {
      Bundle opened = Bundle.open(bundle);
      for (EnginePart part : chosen(wanted, parts(true, opened.autoencoder()))) {
        exports.add(export(opened, part, type));
      }
    } else {
      AutoencoderBundle opened = AutoencoderBundle.open(bundle);
      for (EnginePart part : chosen(wanted, parts(false, Optional.of(opened.autoencoder())))) {
        List<PictureProfile> sizes = autoencoder.sizes(opened.codec().factor(), Integer.MAX_VALUE);
        DType made = autoencoder.precision(type);
        exports.add(half(AutoencoderSource.of(opened, part, made, sizes), part, made));
      }
    }
    requireUse(exports, AutoencoderSource.class, autoencoder.names(), "a decoder or encoder");
    requireUse(exports, ModelSource.class, flags.ofModels(), "a model");
    return exports;
  }

  /** Refuses flags that say nothing of what is built. */
  private static void requireUse(
      List<EngineExport> exports,
      Class<? extends EngineSource> what,
      List<String> flags,
      String expected) {
    if (!flags.isEmpty()
        && exports.stream().noneMatch(export -> what.isInstance(export.source()))) {
      throw new IllegalArgumentException(
          String.join(", ", flags)
              + ": expected "
              + expected
              + " to build, found none among the parts");
    }
  }

  /** The parts that are asked for; empty for all that there are. */
  private List<EnginePart> wanted() {
    if (parts == null) {
      return output == null ? List.of() : List.of(EnginePart.MODEL);
    }
    List<EnginePart> wanted =
        parts.stream().map(part -> EnginePart.parse(part, "--parts")).distinct().toList();
    if (output != null && wanted.size() != 1) {
      throw new IllegalArgumentException(
          "--output: expected one part in --parts, found " + String.join(",", parts));
    }
    return wanted;
  }

  private static List<EnginePart> parts(boolean model, Optional<AutoencoderFiles> files) {
    List<EnginePart> there = new ArrayList<>();
    if (model) {
      there.add(EnginePart.MODEL);
    }
    if (files.isPresent()) {
      there.add(EnginePart.DECODER);
    }
    if (files.flatMap(AutoencoderFiles::encoder).isPresent()) {
      there.add(EnginePart.ENCODER);
    }
    return there;
  }

  private List<EnginePart> chosen(List<EnginePart> wanted, List<EnginePart> there) {
    for (EnginePart part : wanted) {
      if (!there.contains(part)) {
        throw new IllegalArgumentException(
            "--parts: expected some of "
                + there.stream().map(EnginePart::key).collect(Collectors.joining(", "))
                + ", which "
                + bundle
                + " has; found "
                + part.key());
      }
    }
    return wanted.isEmpty() ? there : wanted;
  }

  private EngineExport export(Bundle opened, EnginePart part, DType type) {
    if (part != EnginePart.MODEL) {
      int factor = opened.codec().orElseThrow().factor();
      double cells = Math.sqrt(opened.maxTokens()) * opened.config().patchSize();
      List<PictureProfile> sizes = autoencoder.sizes(factor, (int) Math.ceil(cells) * factor);
      DType made = autoencoder.precision(type);
      return half(AutoencoderSource.of(opened, part, made, sizes), part, made);
    }
    Path plan = output == null ? standard(bundle, type, flags.traits().weights()) : output;
    ModelSource source = new ModelSource(opened, type, flags.smallPackKernels());
    BuildOptions options =
        flags.options(flags.buckets(opened.maxTokens(), type), plan.toAbsolutePath());
    source.requirePossible(options);
    return new EngineExport(
        source,
        plan,
        options,
        command(part, "--precision " + type.name().toLowerCase(ROOT), flags.given(true)),
        verify,
        common.quiet());
  }

  private EngineExport half(AutoencoderSource source, EnginePart part, DType made) {
    Path plan =
        output == null
            ? bundle.resolve(
                EngineManifest.standardName(part, made.name(), EngineManifest.Weights.FIXED))
            : output;
    return new EngineExport(
        source,
        plan,
        flags.options(List.of(1), plan.toAbsolutePath()).withFixedWeights(), // it has no tokens
        command(part, autoencoder.given(made), flags.given(false)),
        verify,
        common.quiet());
  }

  /** The name that an engine of a bundle has unless another is asked for. */
  static Path standard(Path bundle, DType precision, EngineManifest.Weights weights) {
    return bundle.resolve(EngineManifest.standardName(EnginePart.MODEL, precision.name(), weights));
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

  /** The line that builds the same engine again, wherever its bundle lies then. */
  private static String command(EnginePart part, String types, String given) {
    return "nit-export engine "
        + EngineManifest.BUNDLE
        + " --parts "
        + part.key()
        + " "
        + types
        + EngineManifest.OUTPUT
        + (given.isEmpty() ? "" : " " + given)
        + EngineManifest.DEVICE
        + " --overwrite";
  }
}
