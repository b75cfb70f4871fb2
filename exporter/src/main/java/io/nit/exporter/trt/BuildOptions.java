package io.nit.exporter.trt;

import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.NitConfig;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * How an engine is built.
 *
 * @param device number of the GPU that it is built on and for
 * @param buckets the most tokens of each profile, rising
 * @param maxImages the most images of a pack
 * @param workspaceBytes device memory that TensorRT may use beside activations
 * @param optimizationLevel 0 to 5: how long TensorRT looks for fast kernels; 3 is its default
 * @param timingCache a file of kernel timings that is read where it exists, and written
 * @param traits where else the engine is to run, and whether its weights can be exchanged
 * @param smallPlan whether the buckets of at most {@link PackPlan#SMALL_TOKENS} tokens are put into
 *     a plan of their own, see {@link SmallPackKernels}
 */
public record BuildOptions(
    int device,
    List<Integer> buckets,
    int maxImages,
    long workspaceBytes,
    int optimizationLevel,
    Optional<Path> timingCache,
    Traits traits,
    boolean smallPlan) {
  /** The most images of a pack unless another number is asked for. */
  public static final int MAX_IMAGES = 1024;

  /** How long TensorRT looks for fast kernels unless another level is asked for. */
  public static final int OPTIMIZATION_LEVEL = 3;

  /** Device memory for TensorRT's own use unless another size is asked for. */
  public static final long WORKSPACE = 2L << 30;

  private static final long MODULATION_BYTES = 1L << 30;

  /** For one GPU and version, with its weights, in one plan. */
  public BuildOptions(
      int device,
      List<Integer> buckets,
      int maxImages,
      long workspaceBytes,
      int optimizationLevel,
      Optional<Path> timingCache) {
    this(
        device,
        buckets,
        maxImages,
        workspaceBytes,
        optimizationLevel,
        timingCache,
        Traits.NONE,
        false);
  }

  /** Checks the values. */
  public BuildOptions {
    buckets = List.copyOf(buckets);
    int before = 0;
    for (int bucket : buckets) {
      if (bucket <= before) {
        throw new IllegalArgumentException(
            "--buckets: expected rising numbers of 1 or more, found " + buckets);
      }
      before = bucket;
    }
    if (buckets.isEmpty() || buckets.size() > 16) {
      throw new IllegalArgumentException("--buckets: expected 1 to 16, found " + buckets.size());
    }
    if (maxImages < 1) {
      throw new IllegalArgumentException("--max-images: expected 1 or more, found " + maxImages);
    }
    if (workspaceBytes < 0) {
      throw new IllegalArgumentException(
          "--workspace: expected 0 or more, found " + workspaceBytes);
    }
    if (optimizationLevel < 0 || optimizationLevel > 5) {
      throw new IllegalArgumentException(
          "--optimization-level: expected 0..5, found " + optimizationLevel);
    }
  }

  /** The same for an engine that keeps its weights. */
  public BuildOptions withFixedWeights() {
    return with(traits.with(Weights.FIXED), smallPlan);
  }

  /** The same with or without a plan for small packs. */
  public BuildOptions withSmallPlan(boolean wanted) {
    return with(traits, wanted);
  }

  private BuildOptions with(Traits otherTraits, boolean otherSmallPlan) {
    return new BuildOptions(
        device,
        buckets,
        maxImages,
        workspaceBytes,
        optimizationLevel,
        timingCache,
        otherTraits,
        otherSmallPlan);
  }

  /** The plan that a bucket stands in. */
  public PackPlan plan(int bucket) {
    return smallPlan && bucket <= PackPlan.SMALL_TOKENS ? PackPlan.SMALL : PackPlan.MAIN;
  }

  /** The plans that have a bucket, the main one first. */
  public List<PackPlan> packPlans() {
    return buckets.stream().map(this::plan).distinct().sorted().toList();
  }

  /** The most images of a profile: no more than it has tokens. */
  public int images(int bucket) {
    return Math.min(bucket, maxImages);
  }

  /**
   * Rows of the table of modulations that an engine keeps on the device: what 1 GiB holds, 256 to
   * 4096, and at least one for every image of a pack.
   */
  public int modulationRows(NitConfig config) {
    long rowBytes = 2L * config.modulationParts() * config.hiddenSize();
    long rows = Math.max(256, Math.min(4096, MODULATION_BYTES / rowBytes));
    return (int) Math.max(maxImages, rows);
  }

  /** Images of the pack that a profile is tuned for: 256 tokens each, as in a 512² picture. */
  public int typicalImages(int bucket) {
    return Math.max(1, Math.min(images(bucket), bucket / 256));
  }
}
