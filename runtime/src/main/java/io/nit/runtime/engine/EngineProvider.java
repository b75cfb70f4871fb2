package io.nit.runtime.engine;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import java.io.IOException;
import java.util.Optional;

/**
 * Makes engines of one backend. Implementations have a public constructor without arguments and are
 * listed in {@code META-INF/services}; {@link Engines} finds them.
 */
public interface EngineProvider {
  /** Preference of a backend that is used only when it is asked for by name. */
  int BY_NAME_ONLY = -1;

  /** The backend's name on command lines, for example {@code ort-cpu}. */
  String name();

  /** Whether it computes on a GPU, the one of {@link EngineOptions#device}, and not on the CPU. */
  boolean runsOnGpu();

  /**
   * Where the backend stands when the choice is {@code auto}: the highest that does not refuse is
   * taken; {@link #BY_NAME_ONLY} is never taken.
   */
  int preference();

  /**
   * Why this backend cannot run a bundle here, or empty if it can. Cheap: loads no model.
   *
   * @return a reason as a user reads it, such as {@code no CUDA device}
   */
  Optional<String> refusal(Bundle bundle, EngineOptions options);

  /** {@link #refusal(Bundle, EngineOptions)} with the backend's own choices. */
  default Optional<String> refusal(Bundle bundle) {
    return refusal(bundle, EngineOptions.DEFAULT);
  }

  /**
   * Loads the model.
   *
   * @return the engine, which the caller closes
   * @throws IOException if a file of the bundle cannot be read
   * @throws EngineException if the backend does not take the model; names what does not fit
   */
  VelocityEngine open(Bundle bundle, EngineOptions options) throws IOException, EngineException;

  /** Whether {@link #openCodec} runs learned autoencoders. */
  default boolean runsCodecs() {
    return false;
  }

  /**
   * Why this backend cannot decode with the bundle's learned autoencoder here, or empty if it can.
   * Cheap: loads no model.
   */
  default Optional<String> codecRefusal(Bundle bundle, EngineOptions options) {
    return runsCodecs() ? refusal(bundle, options) : Optional.of("runs no learned autoencoders");
  }

  /**
   * Why a codec of this backend cannot encode, or empty if it can. What the bundle has no encoder
   * for is not asked.
   */
  default Optional<String> encoderRefusal(Bundle bundle, EngineOptions options) {
    return codecRefusal(bundle, options);
  }

  /**
   * Loads the bundle's learned autoencoder.
   *
   * @return the codec, which the caller closes
   * @throws IOException if a file of the bundle cannot be read
   * @throws EngineException if the backend runs no autoencoders, or does not take this one
   */
  default LatentCodec openCodec(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    throw new EngineException("backend " + name() + " runs no learned autoencoders");
  }
}
