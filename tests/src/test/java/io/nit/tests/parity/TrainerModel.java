package io.nit.tests.parity;

import io.nit.core.config.NitConfig;
import io.nit.core.rope.Rope2d;
import io.nit.core.safetensors.TensorSource;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/** The trainer's model on the CPU, fed with a backend's inputs; rotary tables are its own. */
public final class TrainerModel implements AutoCloseable {
  private final Device device = new Device("cpu");
  private final NitModel model;

  /** A model with given weights. */
  public TrainerModel(NitConfig config, TensorSource weights) throws IOException {
    model = new NitModel(config, false, device, AttentionPath.forDevice(device));
    Weights.load(model, weights);
  }

  /** Velocities of a pack. */
  public float[] forward(ForwardInputs in) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      NitConfig config = model.config();
      float[] x = new float[in.x().remaining()];
      in.x().duplicate().get(x);
      long p = config.patchSize();
      Tensor tokens = Weights.tensor(x, device, in.layout().tokens(), config.inChannels(), p, p);
      Tensor t = Weights.tensor(in.t(), device, in.t().length);
      Tensor y = Tensor.create(in.y(), in.y().length);
      PackIndex pack = PackIndex.of(in.layout(), config, new Rope2d(), device);
      return Weights.floats(model.forward(tokens, t, y, pack, false).v());
    }
  }

  @Override
  public void close() {
    model.close();
    device.close();
  }
}
