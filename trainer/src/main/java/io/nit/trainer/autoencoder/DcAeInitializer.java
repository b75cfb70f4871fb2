package io.nit.trainer.autoencoder;

import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * The start of an autoencoder's training: convolutions and Linears uniform with variance 1/fan-in,
 * so that each keeps the spread of what it is given; biases 0; batch norms with the statistics of
 * unit normals. The weight of the norm that ends a residual branch is 0.1: a branch adds a
 * hundredth of the variance it will find, so that a block begins near the identity, and yet
 * gradients reach all of its weights from the first step, which a 0 would not let them.
 */
public final class DcAeInitializer {
  private static final float BRANCH_WEIGHT = 0.1f;

  private DcAeInitializer() {}

  /** Fills a model's weights; the same seed gives the same weights, whatever the device. */
  public static void initialize(DcAe model, long seed) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      GeneratorOptional generator = new GeneratorOptional(torch.make_generator_cpu(seed));
      for (Map.Entry<String, Tensor> entry : model.state().entrySet()) {
        try (PointerScope one = new PointerScope()) {
          Tensor tensor = entry.getValue();
          Tensor host = torch.zeros(tensor.shape());
          fill(entry.getKey(), host, generator);
          tensor.copy_(host);
        }
      }
    }
  }

  private static void fill(String name, Tensor host, GeneratorOptional generator) {
    if (host.dim() > 1) {
      double bound = Math.sqrt(3.0 * host.size(0) / host.numel());
      host.uniform_(-bound, bound, generator);
    } else if (name.equals("decoder.norm_out.weight") || name.endsWith(".running_var")) {
      host.fill_(new Scalar(1f));
    } else if (name.endsWith(".weight")) { // of a norm: the others have more dimensions
      host.fill_(new Scalar(BRANCH_WEIGHT));
    }
  }
}
