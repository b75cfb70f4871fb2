package io.nit.trainer.loop;

import io.nit.core.rope.Rope2d;
import io.nit.trainer.dist.BucketedAllReduce;
import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.GradientReady;
import io.nit.trainer.dist.Partition;
import io.nit.trainer.fused.CudaOps;
import io.nit.trainer.fused.FusedNit;
import io.nit.trainer.fused.FusedOps;
import io.nit.trainer.fused.FusedUpdate;
import io.nit.trainer.fused.ReferenceOps;
import io.nit.trainer.model.NitModel;
import io.nit.trainer.optim.AdamW;
import io.nit.trainer.optim.FlatParameters;
import java.io.IOException;
import java.io.UncheckedIOException;
import java.util.ArrayDeque;
import java.util.ArrayList;
import java.util.Deque;
import java.util.List;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A trainer's steps by {@link FusedNit} and {@link FusedUpdate}. The host queues a step and goes
 * on; a step's numbers are read while the next one runs.
 *
 * <p>Owns the fused step and the flat average until {@link #close}, which may be called twice.
 */
final class FusedStep implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(FusedStep.class);

  /**
   * A step that is through.
   *
   * @param step its number, from 1
   * @param rows the packs' rows in the data set, for reports
   */
  record Done(long step, Trainer.StepResult result, List<int[]> rows) {}

  private record Pending(long step, LateNumbers numbers, long tokens, List<int[]> rows) {}

  private final NitModel model;
  private final TrainOptions options;
  private final Collectives collectives;
  private final FusedOps ops;
  private final FlatParameters weights;
  private final FlatParameters average;
  private final FusedNit fused;
  private final FusedUpdate update;
  private final Optional<Partition> owners; // of the gradients, where each has its own
  private final Rope2d rope = new Rope2d();
  private final Deque<Pending> pending = new ArrayDeque<>();
  private boolean closed;

  /**
   * The fused path, if it is asked for or fits; says in the log which path and why.
   *
   * @throws IllegalArgumentException if it is asked for and does not fit
   */
  static Optional<FusedStep> choose(
      StepOptions how,
      NitModel model,
      NitModel averaged,
      FlatParameters weights,
      AdamW optimizer,
      TrainOptions options,
      Collectives collectives) {
    boolean cuda = model.device().is_cuda();
    boolean asked = how.path() == StepOptions.Path.FUSED;
    if (how.path() == StepOptions.Path.REFERENCE || !cuda && !asked) {
      if (how.checkpointing()) {
        throw new IllegalArgumentException(
            "--activation-checkpointing: expected with the fused step, found the reference step"
                + (cuda ? "" : "; on a CPU name it with --step fused"));
      }
      LOG.info("step: reference, {}", cuda ? "as asked for" : "autograd in float32");
      return Optional.empty();
    }
    Optional<String> refusal = cuda ? FusedNit.refusal(model.config()) : Optional.empty();
    FusedOps ops = null;
    if (refusal.isEmpty()) {
      try {
        ops = cuda ? new CudaOps(model.device()) : new ReferenceOps();
      } catch (IOException e) {
        refusal = Optional.of("the kernels' library: " + e.getMessage());
      }
    }
    if (refusal.isPresent()) {
      if (asked) {
        throw new IllegalArgumentException("--step fused: " + refusal.get());
      }
      LOG.warn("step: reference and not fused: {}", refusal.get());
      return Optional.empty();
    }
    LOG.info(
        "step: fused, {}{}",
        cuda ? "our kernels in bfloat16 over float32 weights" : "plain operations in float32",
        how.checkpointing() ? ", with activation checkpointing" : "");
    try {
      return Optional.of(
          new FusedStep(
              model, averaged, weights, optimizer, options, collectives, ops, how.checkpointing()));
    } catch (RuntimeException e) {
      ops.close();
      throw e;
    }
  }

  private FusedStep(
      NitModel model,
      NitModel averaged,
      FlatParameters weights,
      AdamW optimizer,
      TrainOptions options,
      Collectives collectives,
      FusedOps ops,
      boolean checkpointing) {
    this.model = model;
    this.options = options;
    this.collectives = collectives;
    this.ops = ops;
    this.weights = weights;
    average = new FlatParameters(averaged.parameters(), false);
    owners =
        optimizer
            .part()
            .filter(part -> !part.whole())
            .map(part -> new Partition(weights.values().numel(), collectives.ranks().worldSize()));
    ScalarType type = model.device().is_cuda() ? ScalarType.BFloat16 : ScalarType.Float;
    fused = new FusedNit(model, weights, ops, type, checkpointing);
    update =
        new FusedUpdate(weights, Optional.of(average), optimizer, fused.copy(), ops, collectives);
  }

  /** Takes over weights that were changed by others than a step. */
  void refresh() {
    fused.refresh();
  }

  /**
   * Queues a step.
   *
   * @param step its number, from 1
   * @param packs stay the caller's, who may close them when this returns
   * @param tokens of all packs of all processes
   * @throws IOException if a process is gone
   */
  void take(long step, List<StepPack> packs, long tokens, double rate) throws IOException {
    try {
      queue(step, packs, tokens, rate);
    } catch (UncheckedIOException e) {
      throw e.getCause(); // it came through the backward, which tells of its gradients
    }
  }

  private void queue(long step, List<StepPack> packs, long tokens, double rate) throws IOException {
    boolean many = collectives.ranks().worldSize() > 1;
    List<int[]> rows = packs.stream().map(StepPack::rows).toList();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      BucketedAllReduce sums =
          new BucketedAllReduce(
              weights.gradients(), collectives, BucketedAllReduce.BUCKET_ELEMENTS, owners);
      Tensor losses = null;
      try {
        for (int i = 0; i < packs.size(); i++) {
          StepPack pack = packs.get(i);
          boolean last = i == packs.size() - 1;
          boolean beside = many && last;
          ops.spare(beside ? collectives.multiprocessors() : 0);
          Tensor ofPack = backward(pack, tokens, i == 0, beside ? sums : GradientReady.NOBODY);
          losses = losses == null ? ofPack : losses.add_(ofPack);
        }
      } finally {
        ops.spare(0);
      }
      if (many) {
        sums.finish(List.of(losses));
      }
      Tensor result =
          update.step(rate, options.clip(), options.emaDecay(step), losses.select(0, 0));
      LateNumbers numbers = new LateNumbers(torch.cat(new TensorVector(losses, result)));
      pending.add(new Pending(step, numbers, tokens, rows));
    }
  }

  /** Total, flow and REPA loss of a pack by its share; [3] on the device. */
  private Tensor backward(StepPack pack, long tokens, boolean first, GradientReady listener) {
    double share = pack.shard().layout().tokens() / (double) tokens;
    StepInputs inputs =
        pack.ahead().isPresent()
            ? pack.ahead().get().inputs()
            : StepInputs.of(pack.shard(), model.config(), rope, model.device(), true);
    FusedNit.Losses losses =
        fused.backward(
            options.loss(), inputs.batch(), inputs.fused().orElseThrow(), share, first, listener);
    Tensor projection = losses.projection().orElseGet(() -> torch.zeros_like(losses.total()));
    return torch.stack(new TensorVector(losses.total(), losses.flow(), projection));
  }

  /**
   * The steps that are through, in order, and waits for them: all, or all but the one that was
   * queued last. Never that one if it happens to be through, since what ranks do about a bad step,
   * they must do after the same step.
   */
  List<Done> done(boolean all) {
    List<Done> done = new ArrayList<>();
    while (!pending.isEmpty() && (all || pending.size() > 1)) {
      Pending next = pending.remove();
      float[] values;
      try (LateNumbers numbers = next.numbers) {
        values = numbers.get();
      }
      boolean taken = values[4] > 0;
      // A step that was not taken is told by its loss or norm; both are what the device had.
      double norm = taken || !Double.isFinite(values[0]) ? values[3] : Double.NaN;
      done.add(
          new Done(
              next.step,
              new Trainer.StepResult(
                  values[0],
                  values[1],
                  model.hasProjector() ? Optional.of((double) values[2]) : Optional.empty(),
                  norm,
                  next.tokens),
              next.rows));
    }
    return done;
  }

  /** Frees the fused step; the weights stay. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      pending.forEach(one -> one.numbers.close());
      pending.clear();
      fused.close();
      average.close();
      ops.close();
    }
  }
}
