package io.nit.runtime.engine.ref;

import io.nit.core.bundle.Bundle;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.util.Optional;

/**
 * The plain Java forward of a bundle's weights, for comparisons: slow, and used only where it is
 * asked for by name. Weights of 16 bits take 4 bytes each of Java's heap.
 */
public final class ReferenceProvider implements EngineProvider {
  /** The backend's name. */
  public static final String NAME = "reference";

  /** Made by the service loader. */
  public ReferenceProvider() {}

  @Override
  public String name() {
    return NAME;
  }

  @Override
  public boolean runsOnGpu() {
    return false;
  }

  @Override
  public int preference() {
    return BY_NAME_ONLY;
  }

  /** Runs everywhere. */
  @Override
  public Optional<String> refusal(Bundle bundle, EngineOptions options) {
    return Optional.empty();
  }

  /** {@inheritDoc} The number of threads is the common pool's. */
  @Override
  public VelocityEngine open(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    try (BundleWeights weights = BundleWeights.open(bundle)) {
      return ReferenceEngine.open(weights, bundle.config());
    } catch (IllegalArgumentException e) {
      throw new EngineException(e.getMessage(), e);
    }
  }
}
