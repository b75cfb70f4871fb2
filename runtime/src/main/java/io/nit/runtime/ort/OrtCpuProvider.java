package io.nit.runtime.ort;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.util.Optional;

/** ONNX Runtime on the CPU, the backend that runs everywhere. */
public final class OrtCpuProvider implements EngineProvider {
  /** Made by the service loader. */
  public OrtCpuProvider() {}

  @Override
  public String name() {
    return OrtDevice.CPU.backend();
  }

  @Override
  public int preference() {
    return 10;
  }

  @Override
  public Optional<String> refusal(Bundle bundle) {
    return OrtDevice.CPU.refusal(EngineOptions.DEFAULT);
  }

  @Override
  public VelocityEngine open(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    return OrtEngine.open(bundle.model(), bundle.config(), options, OrtDevice.CPU);
  }

  @Override
  public boolean runsCodecs() {
    return true;
  }

  @Override
  public LatentCodec openCodec(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    return OrtAutoencoder.open(bundle, options, OrtDevice.CPU);
  }
}
