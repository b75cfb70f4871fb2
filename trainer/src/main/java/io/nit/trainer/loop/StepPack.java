package io.nit.trainer.loop;

import java.util.Optional;

/**
 * A pack with its draws, as a step takes it; made ahead of the step by a thread of the loader.
 *
 * @param rows the images' rows in the data set, for reports
 * @param shard the whole pack
 * @param ahead on a GPU: the pack there; closed with this
 */
record StepPack(int[] rows, Shard shard, Optional<StepInputs.Ahead> ahead)
    implements AutoCloseable {
  @Override
  public void close() {
    ahead.ifPresent(StepInputs.Ahead::close);
  }
}
