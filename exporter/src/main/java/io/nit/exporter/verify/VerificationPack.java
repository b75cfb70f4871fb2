package io.nit.exporter.verify;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.tensor.NitTensors;
import io.nit.runtime.engine.ForwardInputs;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.List;
import java.util.StringJoiner;

/**
 * Inputs that an export is proved on: normal noise as latents, times from 0 to 1, labels that
 * include the null class where there is one. The same for every run.
 *
 * @param name the images' sizes in tokens, {@code 3x5 1x1}, h first
 * @param inputs the forward's inputs, in direct memory
 */
public record VerificationPack(String name, ForwardInputs inputs) {
  private static final long SEED = 20250603;
  private static final long LARGE = 300_000_000;
  private static final long SMALL = 5_000_000;

  /**
   * The packs for a config: a ragged one with non-square images and a one-token image, and one of a
   * single image. They shrink with the model's size, so that the plain Java reference takes
   * seconds, and a small model also gets an image of several hundred tokens.
   */
  public static List<VerificationPack> of(NitConfig config) {
    long parameters = NitTensors.parameters(config, false);
    List<VerificationPack> packs = new ArrayList<>();
    if (parameters > LARGE) {
      packs.add(of(config, PackLayout.of(new int[] {2, 1, 3}, new int[] {3, 1, 1})));
      packs.add(of(config, PackLayout.of(new int[] {2}, new int[] {2})));
      return packs;
    }
    packs.add(of(config, PackLayout.of(new int[] {3, 1, 7, 6}, new int[] {5, 1, 2, 6})));
    packs.add(of(config, PackLayout.of(new int[] {4}, new int[] {7})));
    if (parameters <= SMALL) {
      packs.add(of(config, PackLayout.of(new int[] {26, 2}, new int[] {22, 9})));
    }
    return packs;
  }

  /** Images of several sizes, 388 tokens: enough values for a ratio of two errors. */
  public static VerificationPack mixed(NitConfig config) {
    return of(config, PackLayout.of(new int[] {16, 8, 1, 5}, new int[] {16, 12, 1, 7}));
  }

  /** A pack of a layout. */
  public static VerificationPack of(NitConfig config, PackLayout layout) {
    double[] noise = new Philox(SEED, 0).normals(layout.tokens() * config.tokenSize());
    FloatBuffer x =
        ByteBuffer.allocateDirect(Float.BYTES * noise.length)
            .order(ByteOrder.nativeOrder())
            .asFloatBuffer();
    for (double value : noise) {
      x.put((float) value);
    }
    float[] t = new float[layout.images()];
    long[] y = new long[layout.images()];
    StringJoiner name = new StringJoiner(" ");
    for (int i = 0; i < layout.images(); i++) {
      t[i] = layout.images() == 1 ? 0.6f : (float) i / (layout.images() - 1);
      y[i] = config.labelRows() - 1 - i % config.labelRows();
      name.add(layout.h(i) + "x" + layout.w(i));
    }
    return new VerificationPack(
        name.toString(),
        new ForwardInputs(
            layout, x.flip(), t, y, new Rope2d().tables(RopeSpec.of(config), layout)));
  }
}
