package io.nit.trainer.fused;

import io.nit.core.config.NitConfig;
import io.nit.core.cuda.TrainingKernels;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.rope.RopeTables;
import io.nit.trainer.model.Weights;
import java.util.List;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;

/**
 * What a fused step needs to know of a pack besides its values. The tensors belong to the {@code
 * PointerScope} that is open when it is made.
 *
 * @param layout which images lie where
 * @param longest tokens of the largest image
 * @param imageIndex [tokens] int32, the image of each token
 * @param cuSeqlens [images + 1] int32
 * @param cosine rotary table, [tokens, headDim] float32
 * @param sine likewise
 * @param chunks [chunks, 4] int32, see {@link TrainingKernels}
 * @param chunkStarts [images + 1] int32
 */
public record FusedPack(
    PackLayout layout,
    int longest,
    Tensor imageIndex,
    Tensor cuSeqlens,
    Tensor cosine,
    Tensor sine,
    Tensor chunks,
    Tensor chunkStarts) {
  private static final int CHUNK = TrainingKernels.CHUNK_ROWS;

  /** The index of a pack for a model of {@code config}, on {@code device}. */
  public static FusedPack of(PackLayout layout, NitConfig config, Rope2d rope, Device device) {
    RopeTables tables = rope.tables(RopeSpec.of(config), layout);
    int images = layout.images();
    int[] starts = new int[images + 1];
    int longest = 0;
    for (int i = 0; i < images; i++) {
      starts[i + 1] = starts[i] + (layout.tokens(i) + CHUNK - 1) / CHUNK;
      longest = Math.max(longest, layout.tokens(i));
    }
    int[] chunks = new int[4 * starts[images]];
    for (int i = 0; i < images; i++) {
      for (int chunk = starts[i]; chunk < starts[i + 1]; chunk++) {
        int at = (chunk - starts[i]) * CHUNK;
        chunks[4 * chunk] = i;
        chunks[4 * chunk + 1] = layout.start(i) + at;
        chunks[4 * chunk + 2] = Math.min(CHUNK, layout.tokens(i) - at);
      }
    }
    return new FusedPack(
        layout,
        longest,
        upload(layout.imageIndex(), device, layout.tokens()),
        upload(layout.cuSeqlens(), device, images + 1),
        upload(tables.cos(), device, tables.tokens(), tables.headDim()),
        upload(tables.sin(), device, tables.tokens(), tables.headDim()),
        upload(chunks, device, starts[images], 4),
        upload(starts, device, images + 1));
  }

  /** N. */
  public int tokens() {
    return layout.tokens();
  }

  /** B. */
  public int images() {
    return layout.images();
  }

  /** All tensors. */
  public List<Tensor> tensors() {
    return List.of(imageIndex, cuSeqlens, cosine, sine, chunks, chunkStarts);
  }

  private static Tensor upload(float[] values, Device device, long... dims) {
    return Weights.upload(Tensor.create(values, dims), device);
  }

  private static Tensor upload(int[] values, Device device, long... dims) {
    return Weights.upload(Tensor.create(values, dims), device);
  }
}
