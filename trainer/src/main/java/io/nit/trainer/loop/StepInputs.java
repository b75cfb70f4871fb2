package io.nit.trainer.loop;

import io.nit.core.config.NitConfig;
import io.nit.core.rope.Rope2d;
import io.nit.trainer.fused.FusedPack;
import io.nit.trainer.loss.FlowMatchingLoss;
import io.nit.trainer.model.PackIndex;
import io.nit.trainer.model.Weights;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Stream;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.cuda.CUDAStream;
import org.bytedeco.pytorch.cuda.CUDAStreamGuard;
import org.bytedeco.pytorch.global.torch_cuda;

/**
 * A shard's numbers as tensors on the device that trains.
 *
 * @param batch what the loss takes
 * @param index what the module's forward needs to know of the pack; for the reference step
 * @param fused likewise for the fused step
 */
record StepInputs(
    FlowMatchingLoss.Batch batch, Optional<PackIndex> index, Optional<FusedPack> fused) {

  /** Builds them on the current stream; the tensors belong to the open {@code PointerScope}. */
  static StepInputs of(Shard shard, NitConfig config, Rope2d rope, Device device, boolean fused) {
    int p = config.patchSize();
    int tokens = shard.layout().tokens();
    int images = shard.layout().images();
    return new StepInputs(
        new FlowMatchingLoss.Batch(
            tensor(shard.latents(), device, tokens, config.inChannels(), p, p),
            tensor(shard.noise(), device, tokens, config.inChannels(), p, p),
            tensor(shard.times(), device, images),
            Weights.indices(shard.labels(), device),
            shard.features().map(z -> tensor(z, device, tokens, config.zDim()))),
        fused ? Optional.empty() : Optional.of(PackIndex.of(shard.layout(), config, rope, device)),
        fused ? Optional.of(FusedPack.of(shard.layout(), config, rope, device)) : Optional.empty());
  }

  private static Tensor tensor(float[] values, Device device, long... dims) {
    return Weights.upload(Tensor.create(values, dims), device);
  }

  private List<Tensor> tensors() {
    List<Tensor> all =
        new ArrayList<>(List.of(batch.latents(), batch.noise(), batch.t(), batch.labels()));
    index.ifPresent(pack -> all.addAll(List.of(pack.imageIndex(), pack.rotation())));
    fused.ifPresent(pack -> all.addAll(pack.tensors()));
    batch.features().ifPresent(all::add);
    return all;
  }

  /** Inputs that a thread of the loader has put on the GPU ahead of their step. */
  static final class Ahead implements AutoCloseable {
    private static final Map<Byte, CUDAStream> STREAMS = new HashMap<>();

    private final StepInputs inputs;
    private final byte device;
    private final PointerScope owned;
    private boolean closed;

    /** Builds them on the packs' own stream and waits for it; not for what the GPU trains on. */
    Ahead(Shard shard, NitConfig config, Rope2d rope, Device device, boolean fused) {
      this.device = device.index();
      try (PointerScope scope = new PointerScope()) {
        CUDAStream copies = stream(this.device);
        try (CUDAStreamGuard guard = new CUDAStreamGuard(copies.unwrap())) {
          inputs = of(shard, config, rope, device, fused);
          copies.synchronize();
        }
        owned = scope.extend();
      }
    }

    /**
     * One stream for all packs of a GPU: memory that was taken on a stream is used again on that
     * stream alone, and libtorch's pool has 32 of them.
     */
    private static CUDAStream stream(byte device) {
      synchronized (STREAMS) {
        return STREAMS.computeIfAbsent(
            device,
            key -> {
              try (PointerScope scope = new PointerScope()) {
                CUDAStream stream = torch_cuda.getStreamFromPool(false, key);
                stream.retainReference(); // outlives the scope
                return stream;
              }
            });
      }
    }

    /** The tensors, for work on the current stream; they are gone after {@link #close}. */
    StepInputs inputs() {
      if (closed) {
        throw new IllegalStateException("StepInputs are closed");
      }
      try (PointerScope scope = new PointerScope()) {
        // Else their memory could be the next pack's while this stream still reads it.
        Stream stream = torch_cuda.getCurrentCUDAStream(device).unwrap();
        inputs.tensors().forEach(tensor -> tensor.record_stream(stream));
      }
      return inputs;
    }

    /** Frees the tensors once the work on them is done. Safe to call twice. */
    @Override
    public void close() {
      if (!closed) {
        closed = true;
        owned.close();
      }
    }
  }
}
