package io.nit.trainer.cli;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.PixelBudget;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.codec.Tiling;
import io.nit.core.tensor.DType;
import io.nit.trainer.autoencoder.DcAeCodec;
import io.nit.trainer.data.DataOptions;
import io.nit.trainer.data.DataType;
import io.nit.trainer.data.LatentPreparer;
import io.nit.trainer.data.PrepareOptions;
import io.nit.trainer.model.Devices;
import java.io.IOException;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.concurrent.Callable;
import org.bytedeco.pytorch.Device;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Model.CommandSpec;
import picocli.CommandLine.Option;
import picocli.CommandLine.Spec;

/** {@code nit-train prepare}: pictures to a data set of latents. */
@Command(
    name = "prepare",
    mixinStandardHelpOptions = true,
    description =
        "Encodes class folders of pictures (DIR/<class>/*.png) into a data set of latents in the "
            + "authors' layout, which nit-train takes as --data.",
    footer = {
      "",
      "Run it again after a stop: what is there already is kept. Pictures that cannot",
      "be read are skipped and listed in OUTPUT/skipped.jsonl.",
      "",
      "Examples:",
      "  nit-train prepare --data photos --output latents",
      "  nit-train prepare --data photos --output latents --factor 16 \\",
      "      --types native-resolution,fixed-256x256 --dtype f16",
      "  nit-train prepare --data photos --output latents --autoencoder dc-ae-f32c32 \\",
      "      --types native-resolution,fixed-256x256,fixed-512x512 --dtype bf16",
      "  nit-train prepare --data icons --output latents --crop-alpha --max-side 128",
      "  nit-train prepare --data photos --output latents --world-size 4 --rank 0",
      "      (and the same with --rank 1, 2 and 3, at the same time or not)",
      "",
      "Exit codes: 0 done, 1 failed, 2 bad usage, 130 stopped by Ctrl-C, 143 by",
      "SIGTERM (what is done is kept)."
    })
public final class Prepare implements Callable<Integer> {
  private static final Logger LOG = LoggerFactory.getLogger(Prepare.class);
  private static final int DEFAULT_FACTOR = 4;

  @Option(
      names = "--data",
      required = true,
      paramLabel = "DIR",
      description = "Class folders of JPEG, PNG, WebP, GIF or BMP pictures.")
  Path data;

  @Option(
      names = "--output",
      required = true,
      paramLabel = "DIR",
      description = "Folder of the data set, new or begun by the same command.")
  Path output;

  @Option(
      names = "--codec",
      paramLabel = "NAME",
      description =
          "What encodes the pictures: "
              + SpaceToDepthCodec.TYPE
              + ", or "
              + DcAeSpec.TYPE
              + " of --autoencoder (default: what fits).")
  String codec;

  @Option(
      names = {"--factor", "--codec-factor"},
      paramLabel = "N",
      description =
          "Pixels a side of a latent pixel of "
              + SpaceToDepthCodec.TYPE
              + " (default: "
              + DEFAULT_FACTOR
              + "); --autoencoder has its own.")
  Integer factor;

  @Mixin AutoencoderFlags autoencoder;

  @Option(
      names = "--device",
      paramLabel = "auto|cpu|cuda",
      defaultValue = "auto",
      description = "Where the autoencoder computes (default: ${DEFAULT-VALUE}).")
  String device;

  @Option(
      names = "--batch",
      paramLabel = "N",
      defaultValue = "2",
      description =
          "The autoencoder takes as many pictures of one size at once as have the pixels of N "
              + "pictures of 512x512 (default: ${DEFAULT-VALUE}).")
  int batch;

  @Option(
      names = "--patch-size",
      paramLabel = "N",
      defaultValue = "1",
      description = "Patch size of the model to train (default: ${DEFAULT-VALUE}).")
  int patchSize;

  @Option(
      names = "--types",
      paramLabel = "TYPE",
      split = ",",
      defaultValue = "native-resolution",
      description =
          "Sizes of every picture: native-resolution, fixed-256x256, fixed-512x512 "
              + "(default: ${DEFAULT-VALUE}).")
  List<String> types;

  @Option(
      names = "--max-side",
      paramLabel = "M",
      defaultValue = "2048",
      description =
          "A picture of M x M pixels or more is shrunk to that area (default: ${DEFAULT-VALUE}).")
  int maxSide;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      defaultValue = "16384",
      description = "No picture and no pack holds more tokens (default: ${DEFAULT-VALUE}).")
  int maxTokens;

  @Option(
      names = "--crop-alpha",
      description = "Crop pictures to the box where alpha is above 8 of 255.")
  boolean cropAlpha;

  @Option(
      names = "--dtype",
      paramLabel = "TYPE",
      defaultValue = "f32",
      description = "Type of the latents on disk: f32, f16, bf16 (default: ${DEFAULT-VALUE}).")
  String dtype;

  @Option(
      names = "--max-pixels",
      paramLabel = "N",
      defaultValue = "" + DataOptions.MAX_PIXELS,
      description = "Skip pictures of more pixels, unread (default: ${DEFAULT-VALUE}).")
  long maxPixels;

  @Option(
      names = "--workers",
      paramLabel = "N",
      description = "Threads (default: as many as cores).")
  int workers = Runtime.getRuntime().availableProcessors();

  @Option(
      names = "--rank",
      paramLabel = "R",
      defaultValue = "0",
      description = "Which share this process does, from 0 (default: ${DEFAULT-VALUE}).")
  int rank;

  @Option(
      names = "--world-size",
      paramLabel = "W",
      defaultValue = "1",
      description = "Processes that share the work (default: ${DEFAULT-VALUE}).")
  int worldSize;

  @Mixin CommonOptions common;

  @Spec CommandSpec spec;

  /** Made by picocli. */
  public Prepare() {}

  @Override
  public Integer call() throws IOException {
    boolean learned = autoencoder.folder != null;
    checkCodec(learned);
    StopSignal stop = StopSignal.install();
    LatentPreparer.Report report;
    if (learned) {
      Device target = Devices.choose(device);
      Devices.requireTrueFloat32();
      PrepareOptions.Learned how =
          new PrepareOptions.Learned(
              autoencoder.folder,
              autoencoder.precision(target).dtype().name().toLowerCase(Locale.ROOT),
              batch);
      // Before the weights are read, which takes its time.
      PrepareOptions options =
          options(DcAeFolder.open(autoencoder.folder).config().factor(), Optional.of(how));
      DcAeCodec.Limits limits =
          new DcAeCodec.Limits(Tiling.STANDARD, new PixelBudget(how.pixels()));
      try (LatentCodec network = autoencoder.open(autoencoder.folder, target, limits)) {
        LOG.info("{} in {}", network.spec().describe(), how.precision());
        report = prepare(options, network, stop);
      }
    } else {
      int f = factor == null ? DEFAULT_FACTOR : factor;
      PrepareOptions options = options(f, Optional.empty());
      report = prepare(options, new SpaceToDepthCodec(f), stop);
    }
    PrintWriter out = spec.commandLine().getOut();
    out.printf(
        Locale.ROOT,
        "%d pictures: %d latents written, %d there already, %d pictures skipped%s%n",
        report.pictures(),
        report.written(),
        report.found(),
        report.skipped(),
        report.skipped() > 0 && report.complete()
            ? " (" + output.resolve("skipped.jsonl") + ")"
            : "");
    if (report.complete()) {
      out.printf(
          Locale.ROOT,
          "%s: %d latents in %d packs of %d tokens, %.1f %% full%n",
          output,
          report.rows(),
          report.packs(),
          maxTokens,
          100 * report.efficiency().orElseThrow());
    } else {
      out.printf("%s: not complete before the other ranks are done%n", output);
    }
    out.flush();
    return Cli.DONE;
  }

  private void checkCodec(boolean learned) {
    String expected = learned ? DcAeSpec.TYPE : SpaceToDepthCodec.TYPE;
    if (codec != null && !codec.equals(expected)) {
      throw new IllegalArgumentException(
          "--codec: expected "
              + expected
              + (learned ? " with --autoencoder" : "; dc-ae needs --autoencoder DIR")
              + ", found '"
              + codec
              + "'");
    }
    if (learned && factor != null) {
      throw new IllegalArgumentException(
          "--factor: expected none with --autoencoder, which has its own, found " + factor);
    }
  }

  private LatentPreparer.Report prepare(
      PrepareOptions options, LatentCodec encoder, StopSignal stop) throws IOException {
    return LatentPreparer.prepare(
        options, encoder, Cli.tool("nit-train prepare", Prepare.class), stop, common.quiet());
  }

  private PrepareOptions options(int codecFactor, Optional<PrepareOptions.Learned> learned) {
    List<DataType> parsed;
    DType type;
    try {
      parsed = types.stream().map(String::strip).map(DataType::parse).toList();
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "--types: " + e.getMessage().replaceFirst("^type: ", ""), e);
    }
    try {
      type = DType.parse(dtype.toUpperCase(Locale.ROOT));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(
          "--dtype: expected f32, f16 or bf16, found '" + dtype + "'", e);
    }
    return new PrepareOptions(
        data,
        output,
        codecFactor,
        patchSize,
        parsed,
        maxSide,
        maxTokens,
        cropAlpha,
        type,
        maxPixels,
        workers,
        rank,
        worldSize,
        learned);
  }
}
