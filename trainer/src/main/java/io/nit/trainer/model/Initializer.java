package io.nit.trainer.model;

import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.GeneratorOptional;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * The start of a training: Linears xavier-uniform with bias 0; label table and timestep Linears
 * normal with spread 0.02; the last Linear of every modulation and the final Linear zero, so that
 * each block begins as the identity and the first velocity is 0.
 */
public final class Initializer {
  private static final double EMBEDDING_STD = 0.02;

  private Initializer() {}

  /** Fills a model's weights; the same seed gives the same weights, whatever the device. */
  public static void initialize(NitModel model, long seed) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      GeneratorOptional generator = new GeneratorOptional(torch.make_generator_cpu(seed));
      for (Map.Entry<String, Tensor> entry : model.parameters().entrySet()) {
        Tensor parameter = entry.getValue();
        Tensor host = torch.empty(parameter.shape());
        fill(entry.getKey(), host, generator, model.config().useAdaLnLora());
        parameter.copy_(host);
      }
    }
  }

  private static void fill(
      String name, Tensor weight, GeneratorOptional generator, boolean adaLnLora) {
    if (name.endsWith("_norm.weight")) {
      weight.fill_(new Scalar(1f));
    } else if (name.endsWith(".bias") || startsAtZero(name, adaLnLora)) {
      weight.zero_();
    } else if (name.startsWith("t_embedder.") || name.startsWith("y_embedder.")) {
      weight.normal_(0, EMBEDDING_STD, generator);
    } else {
      long out = weight.size(0);
      double bound = Math.sqrt(6.0 / (out + weight.numel() / out));
      weight.uniform_(-bound, bound, generator);
    }
  }

  private static boolean startsAtZero(String name, boolean adaLnLora) {
    if (name.startsWith("final_layer.")) {
      return true;
    }
    return name.endsWith(adaLnLora ? ".adaLN_modulation.2.weight" : ".adaLN_modulation.1.weight");
  }
}
