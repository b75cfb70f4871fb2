package io.nit.trainer.fused;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.Optional;
import java.util.Random;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;

/** Models, packs and batches that the tests of the fused step share. */
final class FusedFixture {
  private FusedFixture() {}

  static NitConfig config(int hidden, int heads, int depth, Map<String, Object> changes) {
    return NitConfig.s()
        .with(
            Map.of(
                "hidden_size", hidden,
                "num_heads", heads,
                "depth", depth,
                "encoder_depth", 1,
                "in_channels", 8,
                "projector_dim", 32,
                "z_dim", 24,
                "num_classes", 10))
        .with(changes);
  }

  /** Random weights, none of them 0, so that every gradient says something. */
  static NitModel model(NitConfig config, boolean projector, Device device, long seed) {
    NitModel model = new NitModel(config, projector, device, AttentionPath.forDevice(device));
    Random random = new Random(seed);
    try (NoGradGuard guard = new NoGradGuard()) {
      model
          .parameters()
          .forEach(
              (name, parameter) -> {
                try (PointerScope scope = new PointerScope()) {
                  boolean norm = name.endsWith("_norm.weight");
                  long fanIn = parameter.dim() < 2 ? 25 : parameter.numel() / parameter.size(0);
                  float[] values = normals(random, (int) parameter.numel());
                  for (int i = 0; i < values.length; i++) {
                    values[i] = (float) (values[i] / Math.sqrt(fanIn)) + (norm ? 1 : 0);
                  }
                  parameter.copy_(Weights.tensor(values, device, parameter.shape()));
                }
              });
    }
    return model;
  }

  static float[] normals(Random random, int count) {
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) random.nextGaussian();
    }
    return values;
  }

  static Tensor normals(Random random, Device device, long... dims) {
    int count = 1;
    for (long dim : dims) {
      count *= (int) dim;
    }
    return Weights.tensor(normals(random, count), device, dims);
  }

  /** A pack's data and draws; belong to the open scope. */
  static FlowMatchingLoss.Batch batch(
      NitConfig config, PackLayout layout, boolean features, Device device, long seed) {
    Random random = new Random(seed);
    long n = layout.tokens();
    int p = config.patchSize();
    float[] t = new float[layout.images()];
    long[] labels = new long[t.length];
    for (int i = 0; i < t.length; i++) {
      t[i] = 0.05f + 0.9f * random.nextFloat();
      labels[i] = random.nextInt(config.labelRows());
    }
    return new FlowMatchingLoss.Batch(
        normals(random, device, n, config.inChannels(), p, p),
        normals(random, device, n, config.inChannels(), p, p),
        Weights.tensor(t, device, t.length),
        Weights.indices(labels, device),
        features ? Optional.of(normals(random, device, n, config.zDim())) : Optional.empty());
  }

  /** Loss and gradients by autograd, in float32; gradients are added to the parameters'. */
  static double autograd(
      NitModel model,
      FlowMatchingLoss loss,
      FlowMatchingLoss.Batch batch,
      PackLayout layout,
      double share) {
    try (PointerScope scope = new PointerScope()) {
      PackIndex pack = PackIndex.of(layout, model.config(), new Rope2d(), model.device());
      FlowMatchingLoss.Terms terms = loss.compute(model, batch, pack);
      terms.total().mul(new Scalar(share)).backward();
      return share * terms.total().item_double();
    }
  }

  static Map<String, float[]> gradients(NitModel model) {
    Map<String, float[]> all = new LinkedHashMap<>();
    model.parameters().forEach((name, p) -> all.put(name, Weights.floats(p.grad())));
    return all;
  }
}
