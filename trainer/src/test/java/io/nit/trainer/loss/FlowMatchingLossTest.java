package io.nit.trainer.loss;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.trainer.model.AttentionPath;
import io.nit.trainer.model.Initializer;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.junit.jupiter.api.Test;

/** The loss of a fresh model, whose velocity is 0 everywhere, can be said by hand. */
class FlowMatchingLossTest {
  private static final Device CPU = new Device("cpu");
  private static final NitConfig CONFIG =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size",
                  16,
                  "depth",
                  1,
                  "num_heads",
                  2,
                  "encoder_depth",
                  1,
                  "in_channels",
                  2,
                  "num_classes",
                  3));

  private static double loss(FlowMatchingLoss loss, float[] latents, float[] noise) {
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard();
        NitModel model = new NitModel(CONFIG, false, CPU, AttentionPath.forDevice(CPU))) {
      Initializer.initialize(model, 0);
      PackLayout layout = PackLayout.of(new int[] {1}, new int[] {2});
      return loss.compute(
              model,
              new FlowMatchingLoss.Batch(
                  Weights.tensor(latents, CPU, 2, 2, 1, 1),
                  Weights.tensor(noise, CPU, 2, 2, 1, 1),
                  Weights.tensor(new float[] {0.5f}, CPU, 1),
                  Weights.indices(new long[] {1}, CPU),
                  Optional.empty()),
              PackIndex.of(layout, CONFIG, new Rope2d(), CPU))
          .total()
          .item_double();
    }
  }

  @Test
  void meanOverTokensOfSquaredErrorAndOfOneMinusCosine() {
    float[] latents = {0, 0, 1, 1};
    float[] noise = {3, 1, 1, 3}; // targets (3, 1) and (0, 2)
    double squared = ((9 + 1) / 2.0 + 4 / 2.0) / 2;
    assertEquals(squared, loss(new FlowMatchingLoss(false, 0), latents, noise), 1e-6);
    // A velocity of 0 has no direction: its cosine is 0.
    assertEquals(squared + 1, loss(new FlowMatchingLoss(true, 0), latents, noise), 1e-6);
  }

  @Test
  void aTokenThatIsNotANumberCountsAsZeroAndAnInfiniteOneAsAHundredThousand() {
    FlowMatchingLoss loss = new FlowMatchingLoss(false, 0);
    float[] noise = {3, 1, 1, 3};
    // Through attention the NaN reaches both tokens of the image.
    assertEquals(0, loss(loss, new float[] {Float.NaN, 0, 0, 0}, noise));
    float huge = 3e19f; // its square is infinite, its velocity is not
    assertEquals(
        (1e5 + 5) / 2, loss(loss, new float[] {0, 0, 0, 0}, new float[] {3, 1, huge, 0}), 1);
  }

  @Test
  void aNegativeWeightIsRefusedByItsFlagsName() {
    IllegalArgumentException refused =
        assertThrows(IllegalArgumentException.class, () -> new FlowMatchingLoss(true, -1));
    assertTrue(refused.getMessage().startsWith("--proj-coeff:"), refused.getMessage());
  }
}
