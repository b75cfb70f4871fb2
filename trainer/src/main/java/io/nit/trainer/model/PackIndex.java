package io.nit.trainer.model;

import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.rope.RopeTables;
import java.util.Arrays;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * What a forward needs to know of a pack besides its values. The tensors belong to the {@code
 * PointerScope} that is open when it is made.
 *
 * @param layout which images lie where
 * @param imageIndex [tokens] int64, the image of each token
 * @param rotation [tokens, 1, headDim/2] complex64: the rotary tables as cos + i·sin, one value for
 *     each adjacent pair
 * @param runs neighbouring images of equal length as one entry of {images, tokens each}: attention
 *     takes a run as one batch
 */
public record PackIndex(PackLayout layout, Tensor imageIndex, Tensor rotation, int[][] runs) {

  /** The index of a pack for a model of {@code config}, on {@code device}. */
  public static PackIndex of(PackLayout layout, NitConfig config, Rope2d rope, Device device) {
    RopeTables tables = rope.tables(RopeSpec.of(config), layout);
    return new PackIndex(
        layout, imageIndex(layout, device), rotation(tables, device), runs(layout));
  }

  private static Tensor imageIndex(PackLayout layout, Device device) {
    long[] index = Arrays.stream(layout.imageIndex()).asLongStream().toArray();
    return Weights.indices(index, device);
  }

  private static Tensor rotation(RopeTables tables, Device device) {
    int pairs = tables.headDim() / 2;
    float[] values = new float[tables.tokens() * pairs * 2];
    for (int i = 0; i < values.length; i += 2) {
      values[i] = tables.cos()[i]; // both values of a pair turn by the same angle
      values[i + 1] = tables.sin()[i];
    }
    Tensor real = Tensor.create(values, tables.tokens(), 1, pairs, 2);
    return torch.view_as_complex(real.to(device, torch.ScalarType.Float));
  }

  /** Neighbouring images of equal length as entries of {images, tokens each}. */
  public static int[][] runs(PackLayout layout) {
    int[][] runs = new int[layout.images()][];
    int count = 0;
    for (int i = 0; i < layout.images(); i++) {
      if (count > 0 && runs[count - 1][1] == layout.tokens(i)) {
        runs[count - 1][0]++;
      } else {
        runs[count++] = new int[] {1, layout.tokens(i)};
      }
    }
    return Arrays.copyOf(runs, count);
  }
}
