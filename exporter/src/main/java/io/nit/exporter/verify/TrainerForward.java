package io.nit.exporter.verify;

import io.nit.core.config.NitConfig;
import io.nit.core.oracle.ForwardOracle;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.FloatBuffer;

/** The trainer's forward in single precision, as an engine. */
final class TrainerForward implements VelocityEngine {
  private final NitConfig config;
  private final ForwardOracle oracle;
  private final ForwardOracle.Forward forward;

  private TrainerForward(NitConfig config, ForwardOracle oracle, ForwardOracle.Forward forward) {
    this.config = config;
    this.oracle = oracle;
    this.forward = forward;
  }

  /**
   * Loads a checkpoint.
   *
   * @throws IOException if a tensor cannot be read
   */
  static TrainerForward open(ForwardOracle oracle, NitConfig config, TensorSource weights)
      throws IOException {
    return new TrainerForward(config, oracle, oracle.open(config, weights));
  }

  @Override
  public String backend() {
    return EngineVerifier.TRAINER;
  }

  @Override
  public String description() {
    return oracle.description();
  }

  @Override
  public NitConfig config() {
    return config;
  }

  @Override
  public void forward(ForwardInputs in, FloatBuffer v) {
    float[] x = new float[in.x().remaining()];
    in.x().duplicate().get(x);
    v.put(forward.velocities(in.layout(), x, in.t(), in.y(), DType.F32));
  }

  @Override
  public void close() {
    forward.close();
  }
}
