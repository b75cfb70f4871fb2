package io.nit.tests.bench;

import io.nit.core.cli.Cli;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.SamplerKind;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.exporter.cli.Export;
import io.nit.runtime.CancellationToken;
import io.nit.runtime.ImageRequest;
import io.nit.runtime.NitPipeline;
import io.nit.runtime.PipelineStats;
import io.nit.runtime.ProgressListener;
import io.nit.testing.SyntheticWeights;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.stream.Stream;

/**
 * Sampling runs of a mixed pack of 1,024 tokens through the pipeline on ONNX Runtime: how long they
 * take, and which share of them is our own Java (packing, rotary tables, noise, sampler updates).
 *
 * <p>Arguments: preset (s), steps (50), threads (every core).
 */
public final class SamplingBenchmark {
  // Sides in pixels at factor 4: 256 + 384 + 160 + 192 + 32 = 1024 tokens.
  private static final int[][] SIZES = {{64, 64}, {64, 96}, {80, 32}, {64, 48}, {32, 16}};

  private SamplingBenchmark() {}

  /** Runs and prints a table. */
  public static void main(String[] args) throws Exception {
    int steps = args.length > 1 ? Integer.parseInt(args[1]) : 50;
    int threads = args.length > 2 ? Integer.parseInt(args[2]) : 0;
    SpaceToDepthCodec codec = new SpaceToDepthCodec(4);
    NitConfig config =
        NitConfig.preset(args.length > 0 ? args[0] : "s")
            .with(Map.of("in_channels", codec.channels()));
    Path folder = Files.createTempDirectory("nit-bench-");
    try {
      Path bundle = export(config, codec, folder);
      System.out.printf(
          Locale.ROOT,
          "hidden %d, depth %d; %d images, 1024 tokens; %d steps%n",
          config.hiddenSize(),
          config.depth(),
          SIZES.length,
          steps);
      run(bundle, SamplerKind.EULER, 5, threads); // warms the code up
      for (SamplerKind sampler : SamplerKind.values()) {
        PipelineStats stats = run(bundle, sampler, steps, threads);
        double seconds = stats.modelSeconds() + stats.javaSeconds();
        System.out.printf(
            Locale.ROOT,
            "%-6s %7.2f s, %3d forwards, %8.0f tokens/s, Java %.2f %%%n",
            sampler.key(),
            seconds,
            stats.forwards(),
            stats.tokens() / seconds,
            100 * stats.javaSeconds() / seconds);
      }
    } finally {
      try (Stream<Path> files = Files.walk(folder)) {
        for (Path file : files.sorted(Comparator.reverseOrder()).toList()) {
          Files.delete(file);
        }
      }
    }
  }

  private static PipelineStats run(Path bundle, SamplerKind sampler, int steps, int threads)
      throws Exception {
    try (NitPipeline pipeline = NitPipeline.builder(bundle).threads(threads).open()) {
      List<ImageRequest> requests = new ArrayList<>();
      for (int i = 0; i < SIZES.length; i++) {
        requests.add(
            pipeline
                .request()
                .label(i)
                .size(SIZES[i][0], SIZES[i][1])
                .seed(i)
                .steps(steps)
                .sampler(sampler)
                .guidanceScale(1)
                .build());
      }
      pipeline.generate(requests, ProgressListener.NONE, new CancellationToken());
      return pipeline.stats();
    }
  }

  private static Path export(NitConfig config, SpaceToDepthCodec codec, Path folder)
      throws Exception {
    Path checkpoint = folder.resolve("model.safetensors");
    SafetensorsWriter writer =
        new SafetensorsWriter()
            .metadata("config", config.toJson())
            .metadata("codec", codec.toNode().toString());
    try (SyntheticWeights weights = new SyntheticWeights(config, false)) {
      for (String name : weights.specs().keySet()) {
        writer.add(weights.tensor(name));
      }
      writer.write(checkpoint);
    }
    Path bundle = folder.resolve("bundle");
    int code =
        Cli.run(
            new Export(),
            "--quiet",
            "--no-verify",
            "--checkpoint",
            checkpoint.toString(),
            "--output",
            bundle.toString());
    if (code != Cli.DONE) {
      throw new IllegalStateException("nit-export failed");
    }
    return bundle;
  }
}
