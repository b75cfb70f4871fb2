package io.nit.runtime.ort;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.util.Optional;

/** ONNX Runtime on one kind of device. */
abstract class OrtBackend implements EngineProvider {
  private final OrtDevice device;
  private final int preference;

  OrtBackend(OrtDevice device, int preference) {
    this.device = device;
    this.preference = preference;
  }

  @Override
  public String name() {
    return device.backend();
  }

  @Override
  public boolean runsOnGpu() {
    return device.isGpu();
  }

  @Override
  public int preference() {
    return preference;
  }

  @Override
  public Optional<String> refusal(Bundle bundle, EngineOptions options) {
    return device.refusal(options);
  }

  @Override
  public VelocityEngine open(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    return OrtEngine.open(bundle.model(), bundle.config(), options, device);
  }

  @Override
  public boolean runsCodecs() {
    return true;
  }

  @Override
  public LatentCodec openCodec(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    return OrtAutoencoder.open(bundle, options, device);
  }
}
