package io.nit.trainer.fused;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.testing.Errors;
import io.nit.trainer.dist.BucketedAllReduce;
import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.GradientReady;
import io.nit.trainer.dist.LocalRanks;
import io.nit.trainer.dist.Partition;
import io.nit.trainer.dist.Ranks;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.Weights;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.FlatParameters;
import java.io.IOException;
import java.util.Collection;
import java.util.Iterator;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.Timeout;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** The written-out backward in several processes, its sums begun while it is at work. */
@Timeout(120)
class FusedRanksTest {
  private static final Device CPU = new Device("cpu");
  private static final FlowMatchingLoss LOSS = new FlowMatchingLoss(true, 0);
  private static final int STEPS = 3;

  /** What a rank ends with. */
  private record Trained(float[] weights, float[] average, float[] copy) {}

  private static PackLayout layout(int rank) {
    return PackLayout.of(new int[] {3, 2 + rank, 1}, new int[] {4, 5, 1});
  }

  /** Trains on the packs of {@code ranks}, of {@code world} in all. */
  private static Trained train(
      Collectives group, List<Integer> ranks, int world, boolean sharded, ScalarType type)
      throws IOException {
    NitConfig config = FusedFixture.config(32, 2, 2, Map.of());
    try (PointerScope scope = new PointerScope();
        NitModel model = FusedFixture.model(config, false, CPU, 1);
        NitModel average = FusedFixture.model(config, false, CPU, 1);
        FlatParameters flat = new FlatParameters(model.parameters(), true);
        FlatParameters flatAverage = new FlatParameters(average.parameters(), false);
        AdamW optimizer = optimizer(flat, group, sharded);
        FusedOps ops = new ReferenceOps();
        FusedNit fused = new FusedNit(model, flat, ops, type, false);
        NoGradGuard guard = new NoGradGuard()) {
      FusedUpdate update =
          new FusedUpdate(flat, Optional.of(flatAverage), optimizer, fused.copy(), ops, group);
      Optional<Partition> owners = sharded ? Optional.of(parts(flat, group)) : Optional.empty();
      BucketedAllReduce sums =
          new BucketedAllReduce(flat.gradients(), new Sparing(group), 5000, owners);
      long tokens = 0;
      for (int rank = 0; rank < world; rank++) {
        tokens += layout(rank).tokens();
      }
      for (int step = 0; step < STEPS; step++) {
        Tensor loss = null;
        for (int rank : ranks) {
          FlowMatchingLoss.Batch batch =
              FusedFixture.batch(config, layout(rank), false, CPU, 10L * step + rank);
          FusedPack pack = FusedPack.of(layout(rank), config, new Rope2d(), CPU);
          boolean last = rank == ranks.get(ranks.size() - 1);
          Tensor share =
              fused
                  .backward(
                      LOSS,
                      batch,
                      pack,
                      layout(rank).tokens() / (double) tokens,
                      loss == null,
                      last ? sums : GradientReady.NOBODY)
                  .total();
          loss = loss == null ? share : loss.add(share);
        }
        sums.finish(List.of(loss));
        assertEquals(1, Weights.floats(update.step(1e-2, 0.1, 0.9, loss))[1]);
      }
      assertEquals(STEPS, optimizer.steps());
      return new Trained(
          Weights.floats(flat.values()),
          Weights.floats(flatAverage.values()),
          Weights.floats(fused.copy().orElse(flat.values()).to(ScalarType.Float)));
    }
  }

  private static Partition parts(FlatParameters flat, Collectives group) {
    return new Partition(flat.values().numel(), group.ranks().worldSize());
  }

  /** Gives a rank no sums that are for another one, as NCCL does. */
  private record Sparing(Collectives group) implements Collectives {
    @Override
    public Ranks ranks() {
      return group.ranks();
    }

    @Override
    public void startSum(Collection<Tensor> tensors) throws IOException {
      group.startSum(tensors);
    }

    @Override
    public void startSum(Collection<Tensor> tensors, int owner) throws IOException {
      List<Tensor> given = tensors.stream().map(Tensor::clone).toList();
      group.startSum(tensors, owner);
      if (owner != ranks().rank()) {
        Iterator<Tensor> own = given.iterator();
        tensors.forEach(tensor -> tensor.copy_(own.next()));
      }
    }

    @Override
    public void awaitSums() throws IOException {
      group.awaitSums();
    }

    @Override
    public void sum(double[] values) throws IOException {
      group.sum(values);
    }

    @Override
    public void from(int root, Collection<Tensor> tensors) throws IOException {
      group.from(root, tensors);
    }

    @Override
    public void close() {
      group.close();
    }
  }

  private static AdamW optimizer(FlatParameters flat, Collectives group, boolean sharded) {
    if (!sharded) {
      return new AdamW(flat, AdamW.Options.STANDARD);
    }
    int rank = group.ranks().rank();
    Partition parts = parts(flat, group);
    return new AdamW(flat, AdamW.Options.STANDARD, parts.from(rank), parts.to(rank));
  }

  @ParameterizedTest
  @ValueSource(ints = {2, 3})
  void severalReachWhatOneReachesWithTheirPacksShardedOrNot(int world) throws Exception {
    List<Integer> all = world == 2 ? List.of(0, 1) : List.of(0, 1, 2);
    Trained one = train(Collectives.alone(), all, world, false, ScalarType.Float);
    List<Trained> whole =
        LocalRanks.run(
            world,
            group -> train(group, List.of(group.ranks().rank()), world, false, ScalarType.Float));
    List<Trained> parts =
        LocalRanks.run(
            world,
            group -> train(group, List.of(group.ranks().rank()), world, true, ScalarType.Float));
    double error = Errors.relative(whole.get(0).weights(), one.weights());
    assertTrue(error < 1e-3, "relative error " + error);
    for (int rank = 0; rank < world; rank++) {
      assertArrayEquals(whole.get(0).weights(), whole.get(rank).weights());
      // The gradients' norm is put together of the parts', which rounds it in another way.
      double apart = Errors.relative(parts.get(rank).weights(), whole.get(0).weights());
      assertTrue(apart < 1e-6, "relative difference " + apart);
      assertArrayEquals(parts.get(0).weights(), parts.get(rank).weights());
      assertArrayEquals(whole.get(0).average(), parts.get(rank).average(), 1e-6f);
    }
  }

  @Test
  void theRoundedCopyFollowsTheGatheredWeights() throws Exception {
    List<Trained> parts =
        LocalRanks.run(
            2, group -> train(group, List.of(group.ranks().rank()), 2, true, ScalarType.BFloat16));
    for (Trained each : parts) {
      assertArrayEquals(parts.get(0).copy(), each.copy());
      double error = Errors.relative(each.copy(), each.weights());
      assertTrue(error > 0 && error < 4e-3, "relative error " + error);
    }
  }
}
