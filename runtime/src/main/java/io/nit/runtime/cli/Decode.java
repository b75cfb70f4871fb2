package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.cli.Cli;
import io.nit.core.cli.CommonOptions;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.LatentCodec;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.core.io.FileTree;
import io.nit.core.safetensors.TensorSource;
import io.nit.runtime.cli.LatentInputs.Latent;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.concurrent.Callable;
import java.util.concurrent.CancellationException;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Command;
import picocli.CommandLine.Mixin;
import picocli.CommandLine.Option;

/** {@code nit-run decode}: latents from a file to pictures. */
@Command(
    name = "decode",
    mixinStandardHelpOptions = true,
    description = {
      "Decodes latents to pictures by the bundle's codec.",
      "Reads a tensor [C, h, w] for each picture, named by its id, or what sample-latents writes;"
          + " any float type, scaled as the model sees them. Writes ID.png; pictures that are there"
          + " already are not made again."
    },
    footer = {
      "",
      "Examples:",
      "  nit-run decode --bundle bundle --inputs latents.safetensors --output out",
      "  nit-run decode --bundle bundle --inputs latents.safetensors --output out \\",
      "      --tile-above 262144 --tile 512 --tile-stride 448"
    })
final class Decode implements Callable<Integer> {
  /** Keyword of the latent's hash in a PNG. */
  private static final String LATENT = "nit.latent";

  private static final Logger LOG = LoggerFactory.getLogger(Decode.class);

  @Mixin private CommonOptions common;
  @Mixin private ModelOptions model;
  @Mixin private TilingOptions tiling;

  @Option(names = "--inputs", paramLabel = "FILE", description = "The latents. Required.")
  private Path inputs;

  @Option(names = "--output", paramLabel = "DIR", description = "Folder for pictures. Required.")
  private Path output;

  private String hash;
  private int written;
  private int failed;
  private int retried;

  Decode() {}

  @Override
  public Integer call() throws Exception {
    Path from = Flags.required("--inputs", inputs);
    Path to = Flags.required("--output", output);
    FileTree.requireFolderOrNothing("--output", to);
    Bundle bundle = Bundle.open(model.folder());
    CodecSpec codec =
        bundle
            .codec()
            .orElseThrow(
                () ->
                    new IllegalArgumentException(
                        bundle.folder() + ": expected a codec, found none: nothing decodes"));
    DecodeOptions options =
        new DecodeOptions(tiling.tiling(bundle), DecodeOptions.STANDARD.batchPixels());
    hash = ModelHash.of(List.of(bundle), options.tiling());
    StopSignal stop = StopSignal.install();
    try (TensorSource file = TensorSource.open(from)) {
      List<Latent> all = LatentInputs.of(file, codec, bundle.config());
      List<Latent> missing = new ArrayList<>();
      for (Latent latent : all) {
        if (!isThere(latent)) {
          missing.add(latent);
        }
      }
      long start = System.nanoTime();
      if (!missing.isEmpty()) {
        decode(bundle, options, missing, stop);
      }
      System.out.println(summary(all.size() - missing.size(), (System.nanoTime() - start) * 1e-9));
      if (stop.requested() && written + failed < missing.size()) {
        throw new CancellationException(
            "stopped: "
                + (all.size() - missing.size() + written)
                + " of "
                + all.size()
                + " pictures are done");
      }
    }
    return failed > 0 ? Cli.FAILED : Cli.DONE;
  }

  private void decode(Bundle bundle, DecodeOptions options, List<Latent> missing, StopSignal stop)
      throws IOException, EngineException {
    Map<String, List<Latent>> bySize = new LinkedHashMap<>();
    for (Latent latent : missing) {
      String size = latent.h() + " " + latent.w();
      bySize.computeIfAbsent(size, first -> new ArrayList<>()).add(latent);
    }
    Files.createDirectories(output);
    try (LatentCodec codec = model.openCodec(bundle, options).orElseThrow();
        Progress progress =
            Progress.start("decoding", missing.size(), 0, " pictures", common.quiet())) {
      for (List<Latent> alike : bySize.values()) {
        int most = codec.decodeBatchLimit(alike.get(0).h(), alike.get(0).w());
        for (int at = 0; at < alike.size() && !stop.requested(); at += most) {
          List<Latent> some = alike.subList(at, Math.min(alike.size(), at + most));
          decode(codec, some);
          progress.step(some.size());
        }
      }
    }
  }

  /** Decodes latents of one size and writes their pictures. */
  private void decode(LatentCodec codec, List<Latent> latents) throws IOException {
    List<float[]> values = new ArrayList<>();
    for (Latent latent : latents) {
      values.add(latent.values().get());
    }
    int h = latents.get(0).h();
    int w = latents.get(0).w();
    List<Decoded> pictures;
    try {
      pictures = codec.decodeBatch(values, h, w);
    } catch (RuntimeException | OutOfMemoryError e) {
      if (latents.size() == 1) {
        LOG.error("{}: decoding failed: {}", latents.get(0).id(), e.getMessage());
        failed++;
      } else {
        for (Latent latent : latents) { // one of them may be to blame
          decode(codec, List.of(latent));
        }
      }
      return;
    }
    for (int i = 0; i < latents.size(); i++) {
      RgbImage image =
          RgbImage.ofPlanes(pictures.get(i).rgb(), h * codec.factor(), w * codec.factor());
      String made = Latent.hash(h, w, values.get(i));
      Png.write(file(latents.get(i)), image, Map.of(LATENT, made, PictureFolder.MODEL, hash));
      written++;
      retried += pictures.get(i).retried() ? 1 : 0;
    }
  }

  private Path file(Latent latent) {
    return output.resolve(latent.id() + ".png");
  }

  /** Whether the picture of exactly this latent and model is there. */
  private boolean isThere(Latent latent) throws IOException {
    if (!Files.isRegularFile(file(latent))) {
      return false;
    }
    Map<String, String> text;
    try {
      text = Png.readText(file(latent));
    } catch (IOException | RuntimeException e) {
      LOG.warn("{} is no readable PNG and is made again: {}", file(latent), e.toString());
      return false;
    }
    return hash.equals(text.get(PictureFolder.MODEL))
        && Latent.hash(latent.h(), latent.w(), latent.values().get()).equals(text.get(LATENT));
  }

  private String summary(int skipped, double seconds) {
    return written
        + (written == 1 ? " picture" : " pictures")
        + (written == 0
            ? ""
            : String.format(Locale.ROOT, " in %.1f s (%.2f images/s)", seconds, written / seconds))
        + ", "
        + skipped
        + " there already"
        + (retried > 0 ? ", " + retried + " decoded again in single precision" : "")
        + (failed > 0 ? ", " + failed + " failed" : "")
        + ": "
        + output;
  }
}
