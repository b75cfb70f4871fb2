package io.nit.trainer.checkpoint;

import io.nit.trainer.dist.Collectives;
import io.nit.trainer.dist.Partition;
import io.nit.trainer.optim.AdamW;
import java.io.IOException;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A copy in host memory of what a checkpoint saves, so that the training goes on while the copy is
 * written: weights, average and both moments, 16 bytes a parameter, on rank 0. The memory is taken
 * with the first copy and used for all; beside a GPU it is locked, which a copy at the bus' full
 * speed needs.
 *
 * <p>Owns the memory until {@link #close}, which may be called twice. For one thread at a time.
 */
public final class Snapshot implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(Snapshot.class);

  /** Elements of a message in which a part of the moments comes to rank 0. */
  private static final long MESSAGE = 16L << 20;

  private final Checkpoint.Trained trained;
  private final Collectives group;
  private final boolean cuda;
  private final byte device;
  private final List<Tensor> locked = new ArrayList<>();
  private Values values; // null until the first copy, and on all ranks but 0
  private Tensor wholeExpAvg; // of an optimizer that keeps a part: in the flat parameters' layout
  private Tensor wholeExpAvgSq;
  private PointerScope owned;
  private boolean closed;

  /** Tensors by checkpoint key, on the CPU, and the optimizer's steps. */
  record Values(
      Map<String, Tensor> model,
      Map<String, Tensor> average,
      Map<String, Tensor> expAvg,
      Map<String, Tensor> expAvgSq,
      long optimizerSteps) {
    Values withSteps(long steps) {
      return new Values(model, average, expAvg, expAvgSq, steps);
    }
  }

  /**
   * A snapshot of one process' training, with no copy yet.
   *
   * @param trained what to copy; stays the caller's
   */
  public Snapshot(Checkpoint.Trained trained) {
    this(trained, Collectives.alone());
  }

  /**
   * A snapshot of a training of several processes, each of which has one.
   *
   * @param group the processes; stays the caller's
   */
  public Snapshot(Checkpoint.Trained trained, Collectives group) {
    this.trained = trained;
    this.group = group;
    try (PointerScope scope = new PointerScope()) {
      Tensor one = trained.model().parameters().values().iterator().next();
      cuda = one.is_cuda();
      device = one.device().index();
    }
  }

  /**
   * Copies; every process takes its snapshots at the same steps. Waits for the device.
   *
   * @throws IOException if a process is gone; the copy is worth nothing then
   */
  public void take() throws IOException {
    if (closed) {
      throw new IllegalStateException("Snapshot is closed");
    }
    boolean leads = group.ranks().leads();
    if (leads && values == null) {
      allocate();
    }
    AdamW optimizer = trained.optimizer();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      if (leads) {
        copy(trained.model().parameters(), values.model());
        copy(trained.ema().model().parameters(), values.average());
        copy(optimizer.expAvg(), values.expAvg());
        copy(optimizer.expAvgSq(), values.expAvgSq());
        values = values.withSteps(optimizer.steps());
      }
      Optional<AdamW.Part> part = part(optimizer);
      if (part.isPresent()) {
        collect(part.get(), part.get().expAvg(), wholeExpAvg);
        collect(part.get(), part.get().expAvgSq(), wholeExpAvgSq);
      }
    }
    if (cuda) {
      torch.cuda_synchronize(device);
    }
    group.requireAll();
  }

  private static Optional<AdamW.Part> part(AdamW optimizer) {
    return optimizer.part().filter(part -> !part.whole());
  }

  private static void copy(Map<String, Tensor> from, Map<String, Tensor> to) {
    from.forEach((name, tensor) -> to.get(name).copy_(tensor, true));
  }

  /**
   * The parts of all ranks come to rank 0, message by message.
   *
   * @param moments this rank's part
   * @param whole where they go, on the CPU; null on all ranks but 0
   */
  private void collect(AdamW.Part part, Tensor moments, Tensor whole) throws IOException {
    int world = group.ranks().worldSize();
    Partition parts = new Partition(part.layout().values().numel(), world);
    Tensor message = torch.empty(MESSAGE).to(moments.device(), torch.ScalarType.Float);
    for (int rank = 0; rank < world; rank++) {
      for (long from = parts.from(rank); from < parts.to(rank); from += MESSAGE) {
        long count = Math.min(MESSAGE, parts.to(rank) - from);
        Tensor sent =
            rank == group.ranks().rank()
                ? moments.narrow(0, from - part.from(), count)
                : message.narrow(0, 0, count);
        group.from(rank, List.of(sent));
        if (whole != null) {
          whole.narrow(0, from, count).copy_(sent, true);
        }
      }
    }
  }

  private void allocate() {
    AdamW optimizer = trained.optimizer();
    try (PointerScope scope = new PointerScope();
        NoGradGuard guard = new NoGradGuard()) {
      scope.detach(guard);
      Map<String, Tensor> parameters = trained.model().parameters();
      Map<String, Tensor> expAvg;
      Map<String, Tensor> expAvgSq;
      Optional<AdamW.Part> part = part(optimizer);
      if (part.isPresent()) {
        wholeExpAvg = block(part.get().layout().values().numel());
        wholeExpAvgSq = block(part.get().layout().values().numel());
        expAvg = part.get().layout().views(wholeExpAvg);
        expAvgSq = part.get().layout().views(wholeExpAvgSq);
      } else {
        expAvg = like(parameters);
        expAvgSq = like(parameters);
      }
      values = new Values(like(parameters), like(parameters), expAvg, expAvgSq, 0);
      LOG.info(
          "checkpoints: {} MiB of host memory for the copy that is written beside the steps",
          Checkpoint.bytes(values) >> 20);
      owned = scope.extend();
    }
  }

  /** Tensors of the same names and shapes in one block of host memory. */
  private Map<String, Tensor> like(Map<String, Tensor> tensors) {
    Tensor block = block(tensors.values().stream().mapToLong(Tensor::numel).sum());
    Map<String, Tensor> views = new LinkedHashMap<>();
    long at = 0;
    for (Map.Entry<String, Tensor> entry : tensors.entrySet()) {
      Tensor tensor = entry.getValue();
      views.put(entry.getKey(), block.narrow(0, at, tensor.numel()).view_as(tensor));
      at += tensor.numel();
    }
    return views;
  }

  private Tensor block(long elements) {
    Tensor block = torch.empty(elements);
    if (cuda) {
      int error = cudart.cudaHostRegister(block.data_ptr(), block.nbytes(), 0);
      if (error == cudart.cudaSuccess) {
        locked.add(block);
      } else {
        cudart.cudaGetLastError(); // else libtorch's next call would report it
        LOG.debug(
            "checkpoints: {} MiB of host memory are not locked: {}",
            block.nbytes() >> 20,
            cudart.cudaGetErrorString(error).getString());
      }
    }
    return block;
  }

  /** The last copy; on rank 0, after {@link #take}. */
  Values values() {
    if (closed || values == null) {
      throw new IllegalStateException("Snapshot holds no copy");
    }
    return values;
  }

  /** Frees the memory. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      for (Tensor block : locked) {
        cudart.cudaHostUnregister(block.data_ptr());
      }
      if (owned != null) {
        owned.close();
      }
    }
  }
}
