package io.nit.testing;

import io.nit.core.config.NitConfig;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.nio.FloatBuffer;
import java.util.List;

/**
 * An engine of several networks or profiles, as TensorRT's are: its own forward is another
 * engine's, and each part of it may be wrong. Owns none of them.
 *
 * @param engine what a forward of its own runs
 * @param variants its networks
 * @param profiles its sizes
 */
public record EngineOfSizes(
    VelocityEngine engine, List<VelocityEngine> variants, List<VelocityEngine> profiles)
    implements VelocityEngine {
  /** With several networks and without profiles. */
  public static EngineOfSizes ofVariants(VelocityEngine engine, VelocityEngine... variants) {
    return new EngineOfSizes(engine, List.of(variants), List.of());
  }

  /** With several profiles of one network. */
  public static EngineOfSizes ofProfiles(VelocityEngine engine, VelocityEngine... profiles) {
    return new EngineOfSizes(engine, List.of(engine), List.of(profiles));
  }

  /**
   * A part that takes no more than its size.
   *
   * @param engine what runs there
   * @param maxTokens the most tokens of a pack
   * @param maxImages the most images of a pack
   */
  public record Size(VelocityEngine engine, int maxTokens, int maxImages)
      implements VelocityEngine {
    @Override
    public String backend() {
      return "sizes";
    }

    @Override
    public String description() {
      return "plan of up to " + maxTokens + " tokens";
    }

    @Override
    public NitConfig config() {
      return engine.config();
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      if (in.layout().tokens() > maxTokens || in.layout().images() > maxImages) {
        throw new EngineException("too large: " + in.layout());
      }
      engine.forward(in, v);
    }

    @Override
    public void close() {}
  }

  /** Which of a pack's images are wrong. */
  public enum Wrong {
    /** All. */
    ALL,
    /** The last, which is the large one of packs that fill a profile. */
    LAST
  }

  /**
   * An engine that is off by a part of its result.
   *
   * @param engine what is right
   * @param part by which velocities are too large
   * @param wrong the images that are off
   */
  public record Off(VelocityEngine engine, float part, Wrong wrong) implements VelocityEngine {
    @Override
    public String backend() {
      return "off";
    }

    @Override
    public String description() {
      return "off";
    }

    @Override
    public NitConfig config() {
      return engine.config();
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      int first = wrong == Wrong.ALL ? 0 : in.layout().images() - 1;
      int from = v.position() + in.layout().start(first) * config().tokenSize();
      engine.forward(in, v);
      for (int i = from; i < v.position(); i++) {
        v.put(i, v.get(i) * (1 + part));
      }
    }

    @Override
    public void close() {}
  }

  @Override
  public String backend() {
    return "sizes";
  }

  @Override
  public String description() {
    return "sizes";
  }

  @Override
  public NitConfig config() {
    return engine.config();
  }

  @Override
  public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
    engine.forward(in, v);
  }

  @Override
  public void close() {}
}
