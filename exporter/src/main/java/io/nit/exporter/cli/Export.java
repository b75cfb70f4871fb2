package io.nit.exporter.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.StopSignal;
import io.nit.core.config.NitConfig;
import io.nit.core.tensor.DType;
import java.nio.file.Path;
import java.util.Optional;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-export}. */
@Command(
    name = "nit-export",
    mixinStandardHelpOptions = true,
    sortOptions = false,
    subcommands = {ExportAutoencoder.class, ExportEngine.class, RefitEngine.class},
    description = {
      "Turns a NiT checkpoint into a bundle that nit-run serves: an ONNX file whose token count,"
          + " image count and image sizes are all dynamic, and a manifest.",
      "Takes the authors' released safetensors as they are, with or without the REPA projector."
          + " --autoencoder puts the DC-AE of its latents into the bundle, for pictures."
    },
    footerHeading = "%nExamples:%n",
    footer = {
      "  the released NiT-XL:",
      "    nit-export --checkpoint model.safetensors --preset xl --output bundles/xl",
      "  a run of nit-train, which knows its own config, codec and labels:",
      "    nit-export --checkpoint runs/first --output bundles/first",
      "  with the autoencoder that it was trained on, so that it makes pictures:",
      "    nit-export --checkpoint model.safetensors --preset xl \\",
      "        --autoencoder dc-ae-f32c32-sana-1.1-diffusers --output bundles/xl",
      "  half the disk space; arithmetic stays float on CPUs:",
      "    nit-export --checkpoint model.safetensors --preset xl --dtype bf16 \\",
      "        --output bundles/xl16",
      "  a model of one's own shape:",
      "    nit-export --checkpoint w.safetensors --config nit.json \\",
      "        --codec space-to-depth --codec-factor 4 --labels names.txt \\",
      "        --output bundles/own",
      "",
      "Exit codes: 0 done, 1 failed (also the verification), 2 bad usage;",
      "130 stopped by Ctrl-C, 143 by SIGTERM (nothing is left)."
    })
public final class Export implements Callable<Integer> {
  // Not required to picocli, which would then ask for them with every subcommand too.
  @Option(
      names = "--checkpoint",
      paramLabel = "FILE|DIR",
      description =
          "A .safetensors file, a .safetensors.index.json with its shards beside it, or a folder"
              + " with one of them.")
  private Path checkpoint;

  @Option(
      names = "--preset",
      paramLabel = "NAME",
      description = "A published size: s, b, l, xl, xxl.")
  private String preset;

  @Option(
      names = "--config",
      paramLabel = "FILE",
      description =
          "A JSON config with the authors' key names. Without --preset and --config: the config in"
              + " the checkpoint's metadata, or config.json beside it.")
  private Path config;

  @Option(
      names = "--output",
      paramLabel = "DIR",
      description = "The bundle's folder, new or empty.")
  private Path output;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "f32",
      description =
          "Type that weights are stored in: f32, f16, bf16; default: ${DEFAULT-VALUE}. Inputs,"
              + " outputs and arithmetic are single precision with all.")
  private String dtype;

  @Option(
      names = "--position-order",
      paramLabel = "ORDER",
      description =
          "released or axial; default: the config's, and released for a checkpoint that nit-train"
              + " did not write.")
  private String positionOrder;

  @Option(
      names = "--codec",
      paramLabel = "TYPE",
      description =
          "Plain autoencoder of the latents: space-to-depth; default: the one in the checkpoint's"
              + " metadata, else none.")
  private String codec;

  @Option(
      names = "--codec-factor",
      paramLabel = "N",
      description = "Pixels that a latent pixel spans on each side, with --codec.")
  private Integer codecFactor;

  @Mixin private AutoencoderFlags autoencoder;

  @Option(
      names = "--labels",
      paramLabel = "FILE",
      description = "Class names, one a line; default: those in the checkpoint's metadata.")
  private Path labels;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "16384",
      description = "Tokens that one forward may hold; default: ${DEFAULT-VALUE}.")
  private int maxTokens;

  @Mixin private CheckFlags check;

  @Mixin private CommonOptions common;

  /** Made by picocli. */
  public Export() {}

  /** Runs the command and ends the process. */
  public static void main(String[] args) {
    Cli.main(new Export(), args);
  }

  @Override
  public Integer call() throws Exception {
    require("--checkpoint", "a file or folder", checkpoint);
    require("--output", "a folder", output);
    DType storage = ExportOptions.storage("--dtype", dtype);
    ExportOptions options =
        new ExportOptions(
            checkpoint,
            Optional.ofNullable(preset).map(Export::preset),
            Optional.ofNullable(config),
            output,
            storage,
            ExportOptions.positionOrder(positionOrder),
            ExportOptions.codecFactor(codec, codecFactor),
            autoencoder.options(storage),
            Optional.ofNullable(labels),
            maxTokens,
            check.verify(),
            check.overwrite(),
            common.quiet());
    Bundle bundle = new BundleExport(options, StopSignal.install()).run();
    System.out.println(bundle.folder());
    return Cli.DONE;
  }

  private static NitConfig preset(String name) {
    try {
      return NitConfig.preset(name);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException("--" + e.getMessage(), e);
    }
  }

  private static void require(String flag, String what, Path value) {
    if (value == null) {
      throw new IllegalArgumentException(flag + ": expected " + what + ", found nothing");
    }
  }
}
