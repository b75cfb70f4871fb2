package io.nit.runtime.engine;

import io.nit.core.config.NitConfig;
import io.nit.core.tensor.DType;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Optional;

/**
 * A loaded model that predicts velocities for a pack. One call at a time unless an implementation
 * says otherwise. Safe to close twice; use after close throws {@link IllegalStateException}.
 */
public interface VelocityEngine extends AutoCloseable {
  /** The backend's name, for example {@code ort-cpu}. */
  String backend();

  /** What runs it, for logs and reports: library version, threads, device. */
  String description();

  /** The model's shape. */
  NitConfig config();

  /**
   * Type of the arithmetic, which says how far results may be from the model's; empty if the engine
   * was opened without being told.
   */
  default Optional<DType> precision() {
    return Optional.of(DType.F32);
  }

  /** The most tokens of a pack that {@link #forward} takes. */
  default int maxTokens() {
    return Integer.MAX_VALUE;
  }

  /** The most images of a pack that {@link #forward} takes. */
  default int maxImages() {
    return Integer.MAX_VALUE;
  }

  /**
   * Runs one packed forward.
   *
   * @param in the pack
   * @param v takes [N, C, p, p] from its position on, which moves behind them
   * @throws EngineException if the backend fails; the engine stays usable
   */
  void forward(ForwardInputs in, FloatBuffer v) throws EngineException;

  /**
   * Tells that forwards at these times with these labels will follow, so that what depends on
   * nothing else can be computed at once. A backend that gains nothing from it does nothing; a
   * forward gives the same without it.
   *
   * @param t times in [0, 1]
   * @param y labels, as many
   * @throws EngineException if the backend fails; the engine stays usable
   */
  default void announce(float[] t, long[] y) throws EngineException {}

  /** Sampling with latents that stay where the model runs; empty if this engine has none. */
  default Optional<ResidentSampling> resident() {
    return Optional.empty();
  }

  /**
   * The networks that this engine chooses between by a pack's size, each as an engine that runs
   * every pack in its own: for checks, which must reach all of them. They share this engine's
   * memory and end with it; their {@link #description} tells them apart.
   */
  default List<VelocityEngine> variants() {
    return List.of(this);
  }

  /**
   * The sizes of packs that this engine was made for, rising, each as an engine that runs every
   * pack that fits in its own, whichever a forward would choose; {@link #maxTokens} and {@link
   * #maxImages} are the size's. For checks, likewise. Empty if the engine knows no such sizes.
   */
  default List<VelocityEngine> profiles() {
    return List.of();
  }

  /**
   * Makes ready at once what else is made beside the first packs of each size, so that those take
   * no longer than later ones. A backend that has nothing of the kind does nothing.
   *
   * @return how many sizes of packs are ready
   */
  default int warmUp() {
    return 0;
  }

  /**
   * Tokens of no image that forwards and steps have computed so far, because the backend rounds
   * packs up to fewer sizes; may be asked from any thread. 0 for a backend that rounds nothing.
   */
  default long paddedTokens() {
    return 0;
  }

  /** Frees the model. */
  @Override
  void close();
}
