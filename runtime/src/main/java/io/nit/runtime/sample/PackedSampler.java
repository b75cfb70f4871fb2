package io.nit.runtime.sample;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.Trajectory;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ResidentSampling;
import io.nit.runtime.engine.VelocityEngine;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;

/**
 * Moves images on, all in one pack. Guided images stand in the pack a second time with the null
 * class, behind all others; or, with auto-guidance (arXiv 2406.02507), in a pack of their own that
 * a second, weaker model runs with the null class, as the authors do. Not safe for several threads.
 *
 * <p>Where the model can keep latents ({@link ResidentSampling}), they stay with it, and a step may
 * be begun before the one before it is over; with auto-guidance they do not, as two models'
 * predictions meet on the host. Either way gives the same bits.
 */
public final class PackedSampler {
  private final PackForward model;
  private final Optional<PackForward> guide;
  private final Optional<ResidentSampling> resident;
  private final NitConfig config;
  private final long guideNullClass;
  private long forwards;
  private long tokens;

  /**
   * A sampler on engines that the caller keeps and closes.
   *
   * @param model predicts the velocities
   * @param guide the weaker model of auto-guidance, or empty for the null class of {@code model}
   * @throws IllegalArgumentException if the two models' tokens or classes differ, or the guide has
   *     no null class
   */
  public PackedSampler(VelocityEngine model, Optional<VelocityEngine> guide) {
    this(model, guide, guide.isEmpty() ? model.resident() : Optional.empty());
  }

  private PackedSampler(
      VelocityEngine model, Optional<VelocityEngine> guide, Optional<ResidentSampling> resident) {
    this.resident = resident;
    this.model = new PackForward(model);
    this.guide = guide.map(PackForward::new);
    this.config = model.config();
    this.guideNullClass = guide.map(VelocityEngine::config).orElse(config).numClasses();
    guide.ifPresent(engine -> checkGuide(config, engine.config()));
  }

  /**
   * A sampler that keeps latents on the host whatever the model could do: for comparisons.
   *
   * @throws IllegalArgumentException as {@link #PackedSampler}
   */
  public static PackedSampler onHost(VelocityEngine model, Optional<VelocityEngine> guide) {
    return new PackedSampler(model, guide, Optional.empty());
  }

  /**
   * Whether a model can guide another.
   *
   * @throws IllegalArgumentException naming what differs
   */
  public static void checkGuide(NitConfig model, NitConfig guide) {
    if (guide.inChannels() != model.inChannels()
        || guide.patchSize() != model.patchSize()
        || guide.numClasses() != model.numClasses()) {
      throw new IllegalArgumentException(
          "auto-guidance model: expected in_channels, patch_size, num_classes "
              + model.inChannels()
              + ", "
              + model.patchSize()
              + ", "
              + model.numClasses()
              + ", found "
              + guide.inChannels()
              + ", "
              + guide.patchSize()
              + ", "
              + guide.numClasses());
    }
    if (!guide.hasNullClass()) {
      throw new IllegalArgumentException(
          "auto-guidance model: expected a null class (class_dropout_prob above 0), found none");
    }
  }

  /**
   * Tells the models of all forwards that an image will take, before its first one.
   *
   * @throws EngineException if a model fails at what it does ahead
   */
  public void announce(SampledImage image) throws EngineException {
    List<Trajectory.Evaluation> plan = image.trajectory().plan();
    List<Trajectory.Evaluation> guided =
        plan.stream().filter(Trajectory.Evaluation::guided).toList();
    List<Trajectory.Evaluation> all = new ArrayList<>(plan);
    if (guide.isPresent()) {
      guide.get().announce(times(guided), labels(guided.size(), guideNullClass));
    } else {
      all.addAll(guided);
    }
    long[] labels = labels(all.size(), config.numClasses());
    Arrays.fill(labels, 0, plan.size(), image.label());
    model.announce(times(all), labels);
  }

  /** As {@link PackForward#run} makes them. */
  private static float[] times(List<Trajectory.Evaluation> forwards) {
    float[] t = new float[forwards.size()];
    for (int i = 0; i < t.length; i++) {
      t[i] = (float) forwards.get(i).t();
    }
    return t;
  }

  private static long[] labels(int count, long label) {
    long[] labels = new long[count];
    Arrays.fill(labels, label);
    return labels;
  }

  /** How many steps may be under way when the next is begun: 0 where each is over at once. */
  public int ahead() {
    return resident.isPresent() ? ResidentSampling.MOST_STEPS - 1 : 0;
  }

  /**
   * Runs the model once where every image stands, moves each on, and waits for it.
   *
   * @param images at least one; none of them done
   * @throws EngineException as {@link #begin} and {@link PackStep#await}
   */
  public void advance(List<SampledImage> images) throws EngineException {
    begin(images).await();
  }

  /**
   * Begins to run the model where every image stands and to move each on.
   *
   * @param images at least one; none of them done
   * @return the step, which the caller waits for before more than {@link #ahead} are under way
   * @throws EngineException if it fails; every image is then where it was
   */
  public PackStep begin(List<SampledImage> images) throws EngineException {
    List<SampledImage> guided = new ArrayList<>();
    for (SampledImage image : images) {
      if (image.trajectory().guided()) {
        guided.add(image);
      }
    }
    List<SampledImage> pack = new ArrayList<>(images);
    if (guide.isEmpty()) {
      pack.addAll(guided);
    }
    long[] labels = new long[pack.size()];
    for (int i = 0; i < labels.length; i++) {
      labels[i] = i < images.size() ? pack.get(i).label() : config.numClasses();
    }
    if (resident.isPresent()) {
      ResidentSampling.Step step = model.begin(resident.get(), pack, images.size(), labels);
      count(model);
      images.forEach(image -> image.trajectory().advanceElsewhere());
      return new PackStep(model, Optional.of(step), images);
    }
    advanceHere(images, guided, pack, labels);
    return new PackStep(model, Optional.empty(), images);
  }

  private void advanceHere(
      List<SampledImage> images, List<SampledImage> guided, List<SampledImage> pack, long[] labels)
      throws EngineException {
    float[] cond = run(model, pack, labels);
    float[] uncond = cond;
    PackForward unconditional = model;
    int at = images.size();
    if (guide.isPresent() && !guided.isEmpty()) {
      long[] nulls = new long[guided.size()];
      Arrays.fill(nulls, guideNullClass);
      unconditional = guide.get();
      uncond = run(unconditional, guided, nulls);
      at = 0;
    }
    for (int i = 0; i < images.size(); i++) {
      Trajectory trajectory = images.get(i).trajectory();
      boolean two = trajectory.guided();
      trajectory.advance(cond, model.offset(i), uncond, two ? unconditional.offset(at++) : 0);
    }
  }

  private float[] run(PackForward forward, List<SampledImage> images, long[] labels)
      throws EngineException {
    float[] velocity = forward.run(images, labels);
    count(forward);
    return velocity;
  }

  private void count(PackForward forward) {
    forwards++;
    tokens += forward.tokens();
  }

  /** Forwards so far, of both models. */
  public long forwards() {
    return forwards;
  }

  /** Tokens of images that went through the models so far. */
  public long tokens() {
    return tokens;
  }

  /** Tokens of no image that the models computed beside those. */
  public long paddedTokens() {
    return model.paddedTokens() + guide.map(PackForward::paddedTokens).orElse(0L);
  }

  /** Time spent inside the models so far, in nanoseconds. */
  public long forwardNanos() {
    return model.nanos() + guide.map(PackForward::nanos).orElse(0L);
  }
}
