package io.nit.trainer.loop;

import io.nit.core.config.NitConfig;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.LearningRate;
import java.util.Map;

/** The model and the options of the trainings that the tests run on {@link SyntheticData}. */
final class SmallRun {
  private SmallRun() {}

  static NitConfig config() {
    return NitConfig.s()
        .with(
            Map.of(
                "hidden_size", 32,
                "depth", 2,
                "num_heads", 2,
                "encoder_depth", 1,
                "in_channels", SyntheticData.CHANNELS,
                "num_classes", 3));
  }

  static TrainOptions options(long steps, int accumulate, long checkpointEvery) {
    return new TrainOptions(
        new LearningRate(LearningRate.Schedule.COSINE, 1e-3, 2, steps),
        AdamW.Options.STANDARD,
        1,
        0.9,
        true,
        accumulate,
        0.4,
        0,
        1,
        new FlowMatchingLoss(true, 0),
        7,
        new TrainOptions.Pace(checkpointEvery, 2, 0, 1, 0));
  }
}
