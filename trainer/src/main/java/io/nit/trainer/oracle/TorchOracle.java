package io.nit.trainer.oracle;

import io.nit.core.config.NitConfig;
import io.nit.core.oracle.ForwardOracle;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * libtorch on the CPU: there single precision is single precision, a check takes no memory of the
 * GPU that it checks, and 16-bit products are summed in single precision as on a GPU.
 */
public final class TorchOracle implements ForwardOracle {
  /** Made by the service loader; loads libtorch. */
  public TorchOracle() {
    torch.get_num_threads();
  }

  @Override
  public String description() {
    return "libtorch "
        + torch.TORCH_VERSION
        + " on the CPU, "
        + torch.get_num_threads()
        + " threads";
  }

  @Override
  public Forward open(NitConfig config, TensorSource weights) throws IOException {
    return new Loaded(config, weights);
  }

  private static final class Loaded implements Forward {
    private final Device device = new Device("cpu");
    private final AttentionPath path = AttentionPath.forDevice(device);
    private final NitModel model;
    private boolean open = true;

    Loaded(NitConfig config, TensorSource weights) throws IOException {
      model = new NitModel(config, false, device, path);
      try {
        Weights.load(model, weights);
      } catch (IOException | RuntimeException e) {
        close();
        throw e;
      }
    }

    @Override
    public float[] velocities(PackLayout layout, float[] x, float[] t, long[] y, DType precision) {
      if (precision != DType.F32 && precision != DType.BF16) {
        throw new IllegalArgumentException("expected F32 or BF16, found " + precision);
      }
      if (!open) {
        throw new IllegalStateException("TorchOracle: used after close");
      }
      try (PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        NitConfig config = model.config();
        long p = config.patchSize();
        Tensor tokens = Weights.tensor(x, device, layout.tokens(), config.inChannels(), p, p);
        Tensor times = Weights.tensor(t, device, t.length);
        Tensor labels = Weights.indices(y, device);
        PackIndex pack = PackIndex.of(layout, config, new Rope2d(), device);
        return Weights.floats(
            precision == DType.F32
                ? model.forward(tokens, times, labels, pack, false).v()
                : new AutocastForward(model, path, torch.ScalarType.BFloat16)
                    .run(tokens, times, labels, pack));
      }
    }

    @Override
    public void close() {
      if (!open) {
        return;
      }
      open = false;
      model.close();
      device.close();
    }
  }
}
