package io.nit.trainer.fused;

import io.nit.core.config.NitConfig;
import io.nit.core.cuda.TrainingKernels;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.rope.RopeTables;
import io.nit.trainer.model.Weights;
import java.util.ArrayList;
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
 * @param split the parts that attention's backward takes one by one; empty if it takes all at once
 */
public record FusedPack(
    PackLayout layout,
    int longest,
    Tensor imageIndex,
    Tensor cuSeqlens,
    Tensor cosine,
    Tensor sine,
    Tensor chunks,
    Tensor chunkStarts,
    List<Part> split) {
  private static final int CHUNK = TrainingKernels.CHUNK_ROWS;

  /**
   * Some of a pack's images, one after the other.
   *
   * @param image the first one
   * @param start its first token
   * @param pack the images as a pack of their own
   */
  public record Part(int image, int start, FusedPack pack) {
    /** The part's rows of a tensor over the whole pack's tokens. */
    public Tensor rows(Tensor whole) {
      return whole.narrow(0, start, pack.tokens());
    }
  }

  /** The index of a pack for a model of {@code config}, on {@code device}. */
  public static FusedPack of(PackLayout layout, NitConfig config, Rope2d rope, Device device) {
    RopeTables tables = rope.tables(RopeSpec.of(config), layout);
    Tensor cosine = upload(tables.cos(), device, tables.tokens(), tables.headDim());
    Tensor sine = upload(tables.sin(), device, tables.tokens(), tables.headDim());
    List<Part> split = new ArrayList<>();
    int[] bounds = AttentionParts.of(layout, config.numHeads());
    for (int i = 0; bounds.length > 2 && i + 1 < bounds.length; i++) {
      PackLayout some = layout.part(bounds[i], bounds[i + 1]);
      int start = layout.start(bounds[i]);
      int tokens = some.tokens();
      split.add(
          new Part(
              bounds[i],
              start,
              of(
                  some,
                  cosine.narrow(0, start, tokens),
                  sine.narrow(0, start, tokens),
                  List.of(),
                  device)));
    }
    return of(layout, cosine, sine, List.copyOf(split), device);
  }

  private static FusedPack of(
      PackLayout layout, Tensor cosine, Tensor sine, List<Part> split, Device device) {
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
        cosine,
        sine,
        upload(chunks, device, starts[images], 4),
        upload(starts, device, images + 1),
        split);
  }

  /** The whole pack as a part. */
  public Part whole() {
    return new Part(0, 0, this);
  }

  /** The parts that attention's backward takes one by one, in order. */
  public List<Part> parts() {
    return split.isEmpty() ? List.of(whole()) : split;
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
    List<Tensor> all = new ArrayList<>();
    all.addAll(List.of(imageIndex, cuSeqlens, cosine, sine, chunks, chunkStarts));
    split.forEach(part -> all.addAll(part.pack.tensors()));
    return all;
  }

  private static Tensor upload(float[] values, Device device, long... dims) {
    return Weights.upload(Tensor.create(values, dims), device);
  }

  private static Tensor upload(int[] values, Device device, long... dims) {
    return Weights.upload(Tensor.create(values, dims), device);
  }
}
