package io.nit.tests.bench;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.AutoencoderBundle;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.Tiling;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.io.FileTree;
import io.nit.core.tensor.DType;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.Engines;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;

/**
 * Time and memory of decoding by a DC-AE of generated weights, in a process that does nothing else,
 * and whether pictures that are decoded together have the bits of those decoded alone.
 *
 * <p>Arguments: WIDTHxHEIGHT (1024x1024), pictures (1), a preset of the family or the folder of an
 * exported autoencoder (f32c32-sana-1.1), threads (every core), rounds (2).
 */
public final class DecodeMemory {
  private DecodeMemory() {}

  /** Exports if need be, and measures in a process of its own. */
  public static void main(String[] args) throws Exception {
    if (args.length > 0 && args[0].equals("measure")) {
      String[] sides = args[1].split("x");
      measure(
          Path.of(args[3]),
          Integer.parseInt(sides[0]),
          Integer.parseInt(sides[1]),
          Integer.parseInt(args[2]),
          Integer.parseInt(args[4]),
          Integer.parseInt(args[5]));
      return;
    }
    String size = args.length > 0 ? args[0] : "1024x1024";
    String pictures = args.length > 1 ? args[1] : "1";
    String model = args.length > 2 ? args[2] : "f32c32-sana-1.1";
    String threads = args.length > 3 ? args[3] : "0";
    String rounds = args.length > 4 ? args[4] : "2";
    if (Files.isDirectory(Path.of(model))) {
      start("measure", size, pictures, model, threads, rounds);
      return;
    }
    Path scratch = Files.createTempDirectory("nit-bench-");
    try {
      Path exported = export(DcAeConfig.preset(model), scratch.resolve("exported"));
      start("measure", size, pictures, exported.toString(), threads, rounds);
    } finally {
      FileTree.delete(scratch);
    }
  }

  /**
   * Writes the decoder of a family member with generated weights, as {@code nit-export autoencoder}
   * would, but nothing else.
   *
   * @param folder made if need be
   * @return the folder
   */
  public static Path export(DcAeConfig config, Path folder) throws IOException {
    OnnxFile file =
        OnnxFile.write(
            new DcAeGraph(config, DcAeGraph.Part.DECODER, DType.F32, DType.F32),
            new GeneratedDcAe(config),
            folder.resolve("decoder.onnx"),
            OnnxFile.EXTERNAL_DATA_ABOVE,
            bytes -> {});
    new AutoencoderBundle(
            folder,
            new DcAeSpec(config, Optional.empty()),
            new AutoencoderFiles(
                Optional.empty(),
                file.model().getFileName().toString(),
                Optional.empty(),
                DType.F32,
                DType.F32),
            DcAeGraph.OPSET,
            List.of(Bundle.describe(file.model())),
            JsonNodeFactory.instance.arrayNode(),
            JsonNodeFactory.instance.objectNode())
        .write();
    return folder;
  }

  private static void start(String... arguments) throws IOException, InterruptedException {
    List<String> command = new ArrayList<>();
    command.add(Path.of(System.getProperty("java.home"), "bin", "java").toString());
    // A small heap: what the process holds is ONNX Runtime's.
    command.addAll(List.of("-Xmx512m", DecodeMemory.class.getName()));
    command.addAll(List.of(arguments));
    int code = new ProcessBuilder(command).inheritIO().start().waitFor();
    if (code != 0) {
      throw new IOException("the measuring process ended with " + code);
    }
  }

  private static void measure(
      Path folder, int width, int height, int pictures, int threads, int rounds) throws Exception {
    Tiling whole = new Tiling(1024, 896, Long.MAX_VALUE);
    int f = AutoencoderBundle.open(folder).codec().factor();
    int h = height / f;
    int w = width / f;
    long batchPixels = (long) pictures * height * width;
    EngineOptions options = new EngineOptions(threads, new DecodeOptions(whole, batchPixels));
    try (LatentCodec codec = open(folder, options)) {
      System.out.printf(Locale.ROOT, "loaded: %s%n", memory());
      // The peak begins anew: loading holds some weights twice.
      Files.writeString(Path.of("/proc/self/clear_refs"), "5");
      List<float[]> latents = new ArrayList<>();
      for (int i = 0; i < pictures; i++) {
        float[] latent = GeneratedDcAe.latent(codec.channels(), h, w);
        latent[i] += 1; // no two are alike
        latents.add(latent);
      }
      for (int round = 0; round < rounds; round++) {
        long start = System.nanoTime();
        List<float[]> alone = new ArrayList<>();
        for (float[] latent : latents) {
          alone.add(codec.decode(latent, h, w));
        }
        double seconds = (System.nanoTime() - start) * 1e-9 / pictures;
        System.out.printf(
            Locale.ROOT, "%dx%d alone: %.2f s a picture; %s%n", width, height, seconds, memory());
        if (pictures > 1) {
          start = System.nanoTime();
          List<Decoded> together = codec.decodeBatch(latents, h, w);
          seconds = (System.nanoTime() - start) * 1e-9 / pictures;
          int same = 0;
          for (int i = 0; i < pictures; i++) {
            same += Arrays.equals(together.get(i).rgb(), alone.get(i)) ? 1 : 0;
          }
          System.out.printf(
              Locale.ROOT,
              "%d together: %.2f s a picture; %d of them bit for bit the same; %s%n",
              pictures,
              seconds,
              same,
              memory());
        }
      }
    }
  }

  private static LatentCodec open(Path folder, EngineOptions options) throws Exception {
    AutoencoderBundle exported = AutoencoderBundle.open(folder);
    Bundle bundle =
        new Bundle(
            folder,
            NitConfig.s().with(Map.of("in_channels", exported.codec().channels())),
            exported.autoencoder().decoder(),
            exported.autoencoder().weights().name(),
            exported.opset(),
            Optional.of(exported.codec()),
            Optional.of(exported.autoencoder()),
            List.of(),
            1,
            Bundle.SamplingDefaults.STANDARD,
            List.of(),
            JsonNodeFactory.instance.arrayNode(),
            JsonNodeFactory.instance.objectNode());
    return Engines.openCodec(bundle, "ort-cpu", options).orElseThrow();
  }

  private static String memory() throws IOException {
    String status = Files.readString(Path.of("/proc/self/status"));
    return String.format(
        Locale.ROOT,
        "resident %.2f GiB (%.2f not of files), peak %.2f GiB",
        gib(status, "VmRSS:"),
        gib(status, "RssAnon:"),
        gib(status, "VmHWM:"));
  }

  private static double gib(String status, String key) {
    return status
        .lines()
        .filter(line -> line.startsWith(key))
        .mapToDouble(line -> Long.parseLong(line.replaceAll("\\D", "")) / 1024.0 / 1024)
        .sum();
  }
}
