package io.nit.trainer.cli;

import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.trainer.data.PackReport;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Locale;
import java.util.concurrent.Callable;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code nit-train pack}: packs a data meta file anew. */
@Command(
    name = "pack",
    mixinStandardHelpOptions = true,
    description =
        "Packs the rows of a data meta file by longest-pack-first histogram packing and writes a "
            + "sampler meta file, which nit-train takes as --sampler-meta or finds in the data set.",
    footer = {
      "",
      "Examples:",
      "  nit-train pack --data latents --max-tokens 16384",
      "  nit-train pack --data latents --max-tokens 8192 --max-images 64 \\",
      "      --output packs.json"
    })
public final class Pack implements Callable<Integer> {
  @Option(
      names = "--data",
      required = true,
      paramLabel = "PATH",
      description = "A data set of latents, or its data meta file.")
  Path data;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "16384",
      description = "No pack holds more tokens (default: ${DEFAULT-VALUE}).")
  int maxTokens;

  @Option(
      names = "--max-images",
      paramLabel = "N",
      defaultValue = "0",
      description = "No pack holds more images, 0 for no bound (default: ${DEFAULT-VALUE}).")
  int maxImages;

  @Option(
      names = "--patch-size",
      paramLabel = "N",
      defaultValue = "1",
      description = "Patch size of the model to train (default: ${DEFAULT-VALUE}).")
  int patchSize;

  @Option(
      names = "--output",
      paramLabel = "FILE",
      description = "File to write (default: sampler_meta_<max tokens>.json in the data set).")
  Path output;

  @Mixin CommonOptions common;

  @Spec CommandSpec spec;

  /** Made by picocli. */
  public Pack() {}

  /** Validated options. */
  record Options(Path data, int maxTokens, int maxImages, int patchSize, Path output) {
    Options {
      require("--max-tokens", maxTokens, 1);
      require("--max-images", maxImages, 0);
      require("--patch-size", patchSize, 1);
    }

    private static void require(String flag, int value, int min) {
      if (value < min) {
        throw new IllegalArgumentException(flag + ": expected " + min + " or more, found " + value);
      }
    }
  }

  @Override
  public Integer call() throws IOException {
    Options options = new Options(data, maxTokens, maxImages, patchSize, output);
    PackReport report =
        PackReport.write(
            options.data, options.patchSize, options.maxTokens, options.maxImages, options.output);
    PrintWriter out = spec.commandLine().getOut();
    out.printf(
        Locale.ROOT,
        "%d images in %d packs of %d tokens, %.2f %% full: %s%n",
        report.tokens().length,
        report.packs().size(),
        report.maxTokens(),
        100 * report.efficiency(),
        report.file());
    report.histogram().forEach(out::println);
    out.flush();
    return Cli.DONE;
  }
}
