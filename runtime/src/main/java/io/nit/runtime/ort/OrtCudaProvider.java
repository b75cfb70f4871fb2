package io.nit.runtime.ort;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.LatentCodec;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.util.Optional;

/** ONNX Runtime on an NVIDIA GPU, where its CUDA build is on the class path. */
public final class OrtCudaProvider implements EngineProvider {
  /** Made by the service loader. */
  public OrtCudaProvider() {}

  @Override
  public String name() {
    return OrtDevice.CUDA.backend();
  }

  @Override
  public int preference() {
    return 20;
  }

  @Override
  public Optional<String> refusal(Bundle bundle) {
    return refusal(bundle, EngineOptions.DEFAULT);
  }

  @Override
  public Optional<String> refusal(Bundle bundle, EngineOptions options) {
    return OrtDevice.CUDA.refusal(options);
  }

  @Override
  public VelocityEngine open(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    return OrtEngine.open(bundle.model(), bundle.config(), options, OrtDevice.CUDA);
  }

  @Override
  public boolean runsCodecs() {
    return true;
  }

  @Override
  public LatentCodec openCodec(Bundle bundle, EngineOptions options)
      throws IOException, EngineException {
    return OrtAutoencoder.open(bundle, options, OrtDevice.CUDA);
  }
}
