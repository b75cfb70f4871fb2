package io.nit.exporter.cli;

import io.nit.core.bundle.EngineManifest.Hardware;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.bundle.PackPlan;
import io.nit.core.tensor.DType;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.SmallPackKernels;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.StringJoiner;
import picocli.CommandLine.Option;

/** How TensorRT builds (a picocli mixin). */
final class EngineFlags {
  private static final List<Integer> STANDARD = List.of(128, 512, 1024, 2048, 4096, 8192, 16384);

  /** Attention on all pairs of tokens: 16 heads of 2048² scores in f32 take 256 MiB. */
  private static final int MOST_PAIRED_TOKENS = 2048;

  @Option(
      names = "--buckets",
      paramLabel = "N,N,...",
      split = ",",
      description =
          "The most tokens of each profile, rising; a pack runs in the smallest that holds it."
              + " Default: 128,512,1024,2048,4096,8192,16384, up to the bundle's own limit; in f32,"
              + " whose memory grows with the square, up to 2048.")
  private List<Integer> buckets;

  @Option(
      names = "--max-tokens",
      paramLabel = "N",
      description =
          "The most tokens of a pack: the default buckets up to N, and N. Not with --buckets, whose"
              + " last it would be. Default: the bundle's own limit.")
  private Integer maxTokens;

  @Option(
      names = "--max-images",
      paramLabel = "N",
      description = "The most images of a pack; default: " + BuildOptions.MAX_IMAGES + ".")
  private Integer maxImages;

  @Option(
      names = "--workspace",
      paramLabel = "MIB",
      description = "Device memory for TensorRT's own use, in MiB; default: 2048.")
  private Integer workspace;

  @Option(
      names = "--optimization-level",
      paramLabel = "0..5",
      description = "How long TensorRT looks for fast kernels; default: 3.")
  private Integer optimizationLevel;

  @Option(
      names = "--timing-cache",
      paramLabel = "FILE",
      description =
          "Kernel timings of earlier builds, read and written; default: engine-timings.bin beside"
              + " the engine.")
  private Path timingCache;

  @Option(
      names = "--refittable",
      description =
          "Keep the weights open, so that nit-export refit puts those of a fine-tuned checkpoint in"
              + " their place in seconds. Costs what TensorRT would have folded into the weights.")
  private boolean refittable;

  @Option(
      names = "--weight-stripped",
      description =
          "A plan without weights, a few megabytes for any number of checkpoints of the shape;"
              + " nit-export refit puts weights in before it runs. Implies --refittable.")
  private boolean weightStripped;

  @Option(
      names = "--hardware-compatible",
      description =
          "Runs on every GPU of compute capability 8.0 or newer that our kernels hold code for, not"
              + " only on this model. Costs speed: TensorRT keeps to what all of them have, so that"
              + " a Hopper GPU's own kernels are left out. Our plugins still take the best code"
              + " for each.")
  private boolean hardwareCompatible;

  @Option(
      names = "--version-compatible",
      description =
          "Later minor versions of TensorRT run it too. The plan then holds a lean runtime, some 30"
              + " MiB of code that opening it runs, which needs NVIDIA's libnvinfer_lean.so here;"
              + " -Dnit.tensorrt.lean=FILE names it. Kernels of libraries outside TensorRT are left"
              + " out, which costs speed.")
  private boolean versionCompatible;

  @Option(
      names = SmallPackKernels.FLAG,
      paramLabel = "auto|on|off",
      description =
          "Put the buckets of up to "
              + PackPlan.SMALL_TOKENS
              + " tokens into a plan of their own, in which the linear layers of the blocks are our"
              + " kernels too: faster for few tokens, for a second copy of the blocks' weights in"
              + " the file and on the device. auto: in bf16 and f16 on a GPU of compute capability"
              + " 9.0, unless --hardware-compatible or --version-compatible is given; on: no engine"
              + " without it; off: one plan for all packs. Default: auto.")
  private String smallPackKernels;

  @Option(
      names = "--device",
      paramLabel = "N",
      defaultValue = "0",
      description = "The GPU; default: ${DEFAULT-VALUE}.")
  private int device;

  /**
   * The options for an engine.
   *
   * @param tokens the most tokens of each profile, rising
   * @param plan the engine
   */
  BuildOptions options(List<Integer> tokens, Path plan) {
    if (device < 0) {
      throw new IllegalArgumentException("--device: expected 0 or more, found " + device);
    }
    return new BuildOptions(
        device,
        tokens,
        maxImages == null ? BuildOptions.MAX_IMAGES : maxImages,
        workspace == null ? BuildOptions.WORKSPACE : (long) workspace << 20,
        optimizationLevel == null ? BuildOptions.OPTIMIZATION_LEVEL : optimizationLevel,
        Optional.of(timingCache == null ? plan.resolveSibling("engine-timings.bin") : timingCache),
        traits(),
        false);
  }

  /**
   * The most tokens of each profile.
   *
   * @param limit tokens of a forward that the bundle allows
   * @throws IllegalArgumentException naming the flag
   */
  List<Integer> buckets(int limit, DType precision) {
    if (buckets != null && maxTokens != null) {
      throw new IllegalArgumentException(
          "--buckets, --max-tokens: expected one of them, found both");
    }
    if (buckets != null) {
      return buckets;
    }
    if (maxTokens != null) {
      if (maxTokens < 1 || maxTokens > limit) {
        throw new IllegalArgumentException(
            "--max-tokens: expected 1.." + limit + ", the bundle's own limit, found " + maxTokens);
      }
      return standard(maxTokens);
    }
    return standard(precision == DType.F32 ? Math.min(limit, MOST_PAIRED_TOKENS) : limit);
  }

  /** The flags that were given and say nothing of an autoencoder, by their names. */
  List<String> ofModels() {
    List<String> names = new ArrayList<>();
    if (buckets != null) {
      names.add("--buckets");
    }
    if (maxTokens != null) {
      names.add("--max-tokens");
    }
    if (maxImages != null) {
      names.add("--max-images");
    }
    if (refittable) {
      names.add("--refittable");
    }
    if (weightStripped) {
      names.add("--weight-stripped");
    }
    if (smallPackKernels != null) {
      names.add(SmallPackKernels.FLAG);
    }
    return names;
  }

  /** Whether packs of few tokens get a plan of their own, where the GPU has the kernels. */
  SmallPackKernels smallPackKernels() {
    return smallPackKernels == null
        ? SmallPackKernels.AUTO
        : SmallPackKernels.parse(smallPackKernels);
  }

  /** What the engine is to be able to do. */
  Traits traits() {
    Weights weights = refittable ? Weights.REFITTABLE : Weights.FIXED;
    return new Traits(
        versionCompatible,
        hardwareCompatible ? Hardware.AMPERE_PLUS : Hardware.SAME,
        weightStripped ? Weights.STRIPPED : weights);
  }

  /** The standard buckets below a limit, and the limit. */
  static List<Integer> standard(int maxTokens) {
    List<Integer> all = new ArrayList<>();
    STANDARD.stream().filter(bucket -> bucket < maxTokens).forEach(all::add);
    all.add(maxTokens);
    return all;
  }

  /**
   * The flags that were given, as a command line has them: without those of this machine, the GPU's
   * number and the file of timings.
   *
   * @param model whether for a model, which has flags that an autoencoder has not
   */
  String given(boolean model) {
    StringJoiner words = new StringJoiner(" ");
    if (model) {
      giveOfModels(words);
    }
    if (workspace != null) {
      words.add("--workspace " + workspace);
    }
    if (optimizationLevel != null) {
      words.add("--optimization-level " + optimizationLevel);
    }
    if (hardwareCompatible) {
      words.add("--hardware-compatible");
    }
    if (versionCompatible) {
      words.add("--version-compatible");
    }
    return words.toString();
  }

  private void giveOfModels(StringJoiner words) {
    if (buckets != null) {
      StringJoiner list = new StringJoiner(",");
      buckets.forEach(bucket -> list.add(bucket.toString()));
      words.add("--buckets " + list);
    }
    if (maxTokens != null) {
      words.add("--max-tokens " + maxTokens);
    }
    if (maxImages != null) {
      words.add("--max-images " + maxImages);
    }
    if (refittable) {
      words.add("--refittable");
    }
    if (weightStripped) {
      words.add("--weight-stripped");
    }
    if (smallPackKernels != null) {
      words.add(SmallPackKernels.FLAG + " " + smallPackKernels);
    }
  }
}
