package io.nit.runtime.trt;

import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtPlan;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Optional;
import org.bytedeco.tensorrt.nvinfer.IExecutionContext;

/**
 * A plan that runs packs, with its profiles: each is a bucket of tokens with a context, which is
 * made when it is first asked for.
 */
final class ProfiledPlan implements AutoCloseable {
  /** A profile of the plan: the most it holds, and its context. */
  static final class Bucket {
    private final ProfiledPlan plan;
    private final int profile;
    private final int tokens;
    private final int images;
    private IExecutionContext context;

    Bucket(ProfiledPlan plan, int profile, int tokens, int images) {
      this.plan = plan;
      this.profile = profile;
      this.tokens = tokens;
      this.images = images;
    }

    /** The smallest bucket of one or more plans that holds a pack; empty if none does. */
    static Optional<Bucket> holding(List<Bucket> buckets, int tokens, int images) {
      return buckets.stream()
          .filter(bucket -> tokens <= bucket.tokens && images <= bucket.images)
          .min(Comparator.comparingInt(Bucket::tokens));
    }

    /** The plan, which it belongs to. */
    TensorRtPlan plan() {
      return plan.plan;
    }

    /** Number of the profile in its plan. */
    int profile() {
      return profile;
    }

    /** The most tokens of a pack. */
    int tokens() {
      return tokens;
    }

    /** The most images of a pack. */
    int images() {
      return images;
    }

    /**
     * The context for sizes that are not recorded, made now if it is not there; the bucket closes
     * it.
     */
    synchronized IExecutionContext context() throws TensorRtException {
      if (context == null) {
        context = plan.contexts.of(this);
      }
      return context;
    }

    private synchronized void close() {
      TensorRtPlan.close(context);
      context = null;
    }
  }

  /** Makes a context of a bucket. */
  interface Contexts {
    /** The context, ready to run. */
    IExecutionContext of(Bucket bucket) throws TensorRtException;
  }

  private final TensorRtPlan plan;
  private final Contexts contexts;
  private final List<Bucket> buckets = new ArrayList<>();
  private final long activationBytes;

  /**
   * Reads the profiles of a plan.
   *
   * @param plan stays its owner's, who closes it after this
   * @param contexts makes the buckets' contexts, in whichever thread asks first
   */
  ProfiledPlan(TensorRtPlan plan, Contexts contexts) throws TensorRtException {
    this.plan = plan;
    this.contexts = contexts;
    long most = 0;
    for (int i = 0; i < plan.profiles(); i++) {
      int images = plan.largest("cu_seqlens", i) - 1;
      buckets.add(new Bucket(this, i, plan.largest("x", i), images));
      most = Math.max(most, plan.engine().getDeviceMemorySizeForProfileV2(i));
    }
    buckets.sort(Comparator.comparingInt(Bucket::tokens));
    activationBytes = most;
  }

  /** The plan. */
  TensorRtPlan plan() {
    return plan;
  }

  /** The profiles, rising. */
  List<Bucket> buckets() {
    return buckets;
  }

  /** The most tokens of a pack. */
  int mostTokens() {
    return buckets.get(buckets.size() - 1).tokens;
  }

  /** The most images of a pack. */
  int mostImages() {
    return buckets.stream().mapToInt(Bucket::images).max().orElseThrow();
  }

  /** Bytes that activations take, for the largest profile. */
  long activationBytes() {
    return activationBytes;
  }

  /** Frees the contexts; may be called twice. */
  @Override
  public void close() {
    buckets.forEach(Bucket::close);
  }
}
