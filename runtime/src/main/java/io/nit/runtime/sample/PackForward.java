package io.nit.runtime.sample;

import io.nit.core.flow.Trajectory;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.rope.RopeTables;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ResidentSampling;
import io.nit.runtime.engine.StepInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;

/**
 * Forwards of one model over packs of images. Buffers are kept from one forward to the next, and so
 * are the rotary tables of the packs seen last: a picture's packs, with guidance and without, are
 * mostly those of the picture before it.
 */
final class PackForward {
  /** Packs whose rotary tables are kept. */
  private static final int KEPT_PACKS = 4;

  /** A pack and its rotary tables. */
  private record Pack(PackLayout layout, List<RopeSpec> specs, RopeTables tables) {
    boolean is(PackLayout other, List<RopeSpec> otherSpecs) {
      return layout.equals(other) && specs.equals(otherSpecs);
    }
  }

  private final VelocityEngine engine;
  private final RopeSpec modelRope;
  private final Rope2d rope2d = new Rope2d();
  private FloatBuffer x = FloatBuffer.allocate(0);
  private FloatBuffer v = FloatBuffer.allocate(0);
  private float[] velocity = new float[0];
  private final Deque<Pack> packs = new ArrayDeque<>(); // the last one first
  private final long paddedBefore;
  private long nanos;

  PackForward(VelocityEngine engine) {
    this.engine = engine;
    this.modelRope = RopeSpec.of(engine.config());
    this.paddedBefore = engine.paddedTokens();
  }

  /**
   * Predicts every image's velocity at its trajectory's point.
   *
   * @param images the pack, in order; an image may stand in it twice
   * @param labels one per image
   * @return [tokens, C, p, p] and more behind it; valid until the next call
   */
  float[] run(List<SampledImage> images, long[] labels) throws EngineException {
    Pack pack = pack(images);
    int values = Math.multiplyExact(pack.layout.tokens(), engine.config().tokenSize());
    if (x.capacity() < values) {
      x = direct(values);
      v = direct(values);
      velocity = new float[values];
    }
    x.clear();
    for (SampledImage image : images) {
      for (double value : image.trajectory().x()) {
        x.put((float) value);
      }
    }
    x.flip();
    v.clear();
    long start = System.nanoTime();
    engine.forward(new ForwardInputs(pack.layout, x, times(images), labels, pack.tables), v);
    nanos += System.nanoTime() - start;
    v.flip().get(velocity, 0, values);
    return velocity;
  }

  /**
   * Begins a step of images whose values stay where the model runs.
   *
   * @param images the pack: {@code count} images, then those of them that are guided once more
   * @param labels one per image of the pack
   */
  ResidentSampling.Step begin(
      ResidentSampling resident, List<SampledImage> images, int count, long[] labels)
      throws EngineException {
    Pack pack = pack(images);
    List<Trajectory> moved = images.stream().limit(count).map(SampledImage::trajectory).toList();
    StepInputs in = new StepInputs(pack.layout, times(images), labels, pack.tables, moved);
    long start = System.nanoTime();
    try {
      return resident.begin(in);
    } finally {
      nanos += System.nanoTime() - start;
    }
  }

  /** Waits for a step. */
  void await(ResidentSampling.Step step) throws EngineException {
    long start = System.nanoTime();
    try {
      step.await();
    } finally {
      nanos += System.nanoTime() - start;
    }
  }

  private static float[] times(List<SampledImage> images) {
    float[] t = new float[images.size()];
    for (int i = 0; i < t.length; i++) {
      t[i] = (float) images.get(i).trajectory().t();
    }
    return t;
  }

  /** Tells the model which forwards will follow: [forwards] each. */
  void announce(float[] t, long[] labels) throws EngineException {
    long start = System.nanoTime();
    engine.announce(t, labels);
    nanos += System.nanoTime() - start;
  }

  /** Where image {@code index} of the last pack begins in the velocities. */
  int offset(int index) {
    return packs.getFirst().layout.start(index) * engine.config().tokenSize();
  }

  /** Tokens of the last pack. */
  int tokens() {
    return packs.getFirst().layout.tokens();
  }

  /** Tokens of no image that the model has computed beside those of packs. */
  long paddedTokens() {
    return engine.paddedTokens() - paddedBefore;
  }

  /** Time spent inside the model. */
  long nanos() {
    return nanos;
  }

  /** The pack of some images, the first of those kept from here on. */
  private Pack pack(List<SampledImage> images) {
    int[] h = new int[images.size()];
    int[] w = new int[h.length];
    List<RopeSpec> wanted = new ArrayList<>(h.length);
    for (int i = 0; i < h.length; i++) {
      h[i] = images.get(i).h();
      w[i] = images.get(i).w();
      wanted.add(images.get(i).rope().over(modelRope));
    }
    PackLayout layout = PackLayout.of(h, w);
    Pack found =
        packs.stream()
            .filter(one -> one.is(layout, wanted))
            .findFirst()
            .orElseGet(() -> new Pack(layout, wanted, rope2d.tables(wanted, layout)));
    if (found != packs.peek()) {
      packs.remove(found);
      packs.push(found);
      if (packs.size() > KEPT_PACKS) {
        packs.removeLast();
      }
    }
    return found;
  }

  private static FloatBuffer direct(int values) {
    return ByteBuffer.allocateDirect(Math.multiplyExact(values, Float.BYTES))
        .order(ByteOrder.nativeOrder())
        .asFloatBuffer();
  }
}
