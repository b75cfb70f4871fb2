package io.nit.runtime;

import io.nit.core.config.NitConfig;
import io.nit.core.rope.RopeTables;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ResidentSampling;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.trt.TwinSampling;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Collections;
import java.util.IdentityHashMap;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.concurrent.CopyOnWriteArrayList;
import java.util.concurrent.Semaphore;

/**
 * A made-up model whose velocity of a token depends on that token, its image's t and label and its
 * rotary tables: {@code v = x·(0.5 + t) + 0.01·y + mean(cos)}. Keeps a record of the packs, and can
 * be made to wait, to fail, to give NaN for a label, or to keep latents.
 */
final class FakeEngine implements VelocityEngine {
  record Pack(int images, int tokens, List<Long> labels) {}

  /** What the model is told or asked for one image: its time and label. */
  record Condition(float t, long label) {}

  final List<Pack> packs = new CopyOnWriteArrayList<>();

  /** The rotary tables of the packs, those that are one object once. */
  final Set<RopeTables> ropes =
      Collections.synchronizedSet(Collections.newSetFromMap(new IdentityHashMap<>()));

  final List<Condition> announced = new CopyOnWriteArrayList<>();
  final List<Condition> asked = new CopyOnWriteArrayList<>();
  volatile Semaphore permits;
  volatile long nanLabel = -1;
  volatile String failure;
  volatile Error announceError;
  volatile RuntimeException closeError;
  volatile boolean closed;
  TwinSampling twin; // null: latents go over the host
  int mostTokens = Integer.MAX_VALUE;
  int mostImages = Integer.MAX_VALUE;
  int roundedTo = 1; // packs have a multiple of so many tokens
  private volatile long paddedTokens;
  private final NitConfig config;
  private final float bias;

  FakeEngine(NitConfig config, float bias) {
    this.config = config;
    this.bias = bias;
  }

  @Override
  public String backend() {
    return "fake";
  }

  @Override
  public String description() {
    return "made up";
  }

  @Override
  public NitConfig config() {
    return config;
  }

  @Override
  public int maxTokens() {
    return mostTokens;
  }

  @Override
  public int maxImages() {
    return mostImages;
  }

  @Override
  public void announce(float[] t, long[] y) {
    if (announceError != null) {
      throw announceError;
    }
    announced.addAll(conditions(t, y));
  }

  @Override
  public Optional<ResidentSampling> resident() {
    return Optional.ofNullable(twin);
  }

  private static List<Condition> conditions(float[] t, long[] y) {
    List<Condition> all = new ArrayList<>();
    for (int i = 0; i < t.length; i++) {
      all.add(new Condition(t[i], y[i]));
    }
    return all;
  }

  @Override
  public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
    if (closed) {
      throw new IllegalStateException("FakeEngine: used after close");
    }
    packs.add(
        new Pack(
            in.layout().images(), in.layout().tokens(), Arrays.stream(in.y()).boxed().toList()));
    asked.addAll(conditions(in.t(), in.y()));
    ropes.add(in.rope());
    if (permits != null) {
      permits.acquireUninterruptibly();
    }
    if (failure != null) {
      throw new EngineException(failure);
    }
    paddedTokens += Math.floorMod(-in.layout().tokens(), roundedTo);
    int headDim = in.rope().headDim();
    for (int image = 0; image < in.layout().images(); image++) {
      float label = in.y()[image] == nanLabel ? Float.NaN : 0.01f * in.y()[image];
      for (int k = 0; k < in.layout().tokens(image); k++) {
        int token = in.layout().start(image) + k;
        float rope = 0;
        for (int j = 0; j < headDim; j++) {
          rope += in.rope().cos()[token * headDim + j] / headDim;
        }
        for (int c = 0; c < config.tokenSize(); c++) {
          float x = in.x().get(in.x().position() + token * config.tokenSize() + c);
          v.put(x * (0.5f + in.t()[image]) + label + rope + bias);
        }
      }
    }
  }

  @Override
  public long paddedTokens() {
    return paddedTokens;
  }

  @Override
  public void close() {
    closed = true;
    if (closeError != null) {
      throw closeError;
    }
  }
}
