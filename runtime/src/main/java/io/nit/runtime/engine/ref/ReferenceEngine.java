package io.nit.runtime.engine.ref;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.NitTensors;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.FloatBuffer;

/**
 * NiT's forward in plain Java, straight from a checkpoint: what exports and faster backends are
 * measured against. Runs on all cores of the common pool; safe for several threads. Float32 weights
 * stay where the file is mapped, so a model needs little heap beyond its activations.
 */
public final class ReferenceEngine implements VelocityEngine {
  private final NitConfig config;
  private volatile NitForward model;

  private ReferenceEngine(NitConfig config, NitForward model) {
    this.config = config;
    this.model = model;
  }

  /**
   * Opens a checkpoint; {@code weights} may be closed afterwards, by the caller.
   *
   * @param weights tensors of any float type under the authors' names, with or without projector
   * @throws IllegalArgumentException naming every tensor that does not fit {@code config}
   * @throws IOException if a tensor cannot be read
   */
  public static ReferenceEngine open(TensorSource weights, NitConfig config) throws IOException {
    NitTensors.require(config, weights.specs(), weights.where());
    return new ReferenceEngine(config, new NitForward(weights, config));
  }

  @Override
  public String backend() {
    return ReferenceProvider.NAME;
  }

  @Override
  public String description() {
    return "plain Java reference, Java " + Runtime.version().feature();
  }

  @Override
  public NitConfig config() {
    return config;
  }

  /** Whether the checkpoint holds the REPA head, so that {@link #project} can run. */
  public boolean hasProjector() {
    return model().hasProjector();
  }

  /**
   * {@inheritDoc}
   *
   * @throws IllegalArgumentException if x, a label or the rope tables do not fit the config, or
   *     {@code v} has too little room
   */
  @Override
  public void forward(ForwardInputs in, FloatBuffer v) {
    float[] x = tokens(in);
    if (v.remaining() < x.length) {
      throw new IllegalArgumentException(
          "v: expected room for " + x.length + " values, found " + v.remaining());
    }
    v.put(model().velocity(x, in.t(), in.y(), in.layout(), in.rope()));
  }

  /**
   * The REPA head's output for the tokens after block {@code encoder_depth}.
   *
   * @return [N, zDim]
   * @throws IllegalStateException if the checkpoint holds no projector
   * @throws IllegalArgumentException as {@link #forward}
   */
  public float[] project(ForwardInputs in) {
    float[] x = tokens(in);
    if (!hasProjector()) {
      throw new IllegalStateException("ReferenceEngine: the checkpoint holds no projector");
    }
    return model().features(x, in.t(), in.y(), in.layout(), in.rope());
  }

  /** Lets the weights go. */
  @Override
  public void close() {
    model = null;
  }

  private NitForward model() {
    NitForward open = model;
    if (open == null) {
      throw new IllegalStateException("ReferenceEngine is closed");
    }
    return open;
  }

  private float[] tokens(ForwardInputs in) {
    int expected = Math.multiplyExact(in.layout().tokens(), config.tokenSize());
    if (in.x().remaining() != expected) {
      throw new IllegalArgumentException(
          "x: expected "
              + in.layout().tokens()
              + " tokens of "
              + config.tokenSize()
              + " values, found "
              + in.x().remaining()
              + " values");
    }
    in.requireHeadDim(config);
    for (int i = 0; i < in.y().length; i++) {
      if (in.y()[i] < 0 || in.y()[i] >= config.labelRows()) {
        throw new IllegalArgumentException(
            "y[" + i + "]: expected 0.." + (config.labelRows() - 1) + ", found " + in.y()[i]);
      }
    }
    float[] x = new float[expected];
    in.x().duplicate().get(x);
    return x;
  }
}
