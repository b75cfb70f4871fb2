package io.nit.runtime.engine;

import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.Rope2d;
import io.nit.core.rope.RopeSpec;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Parity;
import java.nio.FloatBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;

/**
 * Runs each of an engine's profiles on a pack that fills it, and compares every token, without a
 * reference of so many tokens. Attention keeps to an image, and times and labels are an image's:
 *
 * <ul>
 *   <li>the images of a small pack, whose velocities are known, again and again;
 *   <li>behind them equal images of as many tokens as the profile below holds, against the same
 *       image in that profile (the lowest profile: half of what it holds, against the image alone).
 * </ul>
 */
public final class ProfileCheck {
  private static final long SEED = 20250604;
  private static final float TIME = 0.6f;

  private ProfileCheck() {}

  /**
   * How far some of a pack's velocities are from those expected.
   *
   * @param tokens the most that the profile holds
   * @param pack what was run in it
   * @param against what it was compared with: {@link #SMALL_PACK}, or another profile
   * @param parity the errors
   */
  public record Result(int tokens, String pack, String against, Parity parity) {
    /**
     * What {@link Parity#relative} may be where velocities may be off by {@code bound}: between two
     * profiles twice as much, as both may be.
     */
    public double most(double bound) {
      return against.equals(SMALL_PACK) ? bound : 2 * bound;
    }
  }

  /** What {@link Result#against} says of the small pack's velocities. */
  public static final String SMALL_PACK = "small pack";

  /**
   * Largest relative error of velocities in a precision. What 16 bits cost depends on the model;
   * these bounds only find what is wrong.
   */
  public static double bound(DType precision) {
    return switch (precision) {
      case BF16 -> 5e-2;
      case F16 -> 1e-2;
      default -> 1e-4;
    };
  }

  /**
   * Runs all profiles, two or three forwards each.
   *
   * @param engine what to run; one without profiles gives no result
   * @param small a small pack
   * @param expected its velocities, [N, C, p, p]
   * @return one or two entries a profile, rising
   * @throws EngineException if a forward fails
   */
  public static List<Result> run(VelocityEngine engine, ForwardInputs small, float[] expected)
      throws EngineException {
    List<Result> all = new ArrayList<>();
    VelocityEngine below = null;
    for (VelocityEngine profile : engine.profiles()) {
      Filled pack =
          Filled.of(
              profile,
              small.layout(),
              below == null ? Math.max(1, profile.maxTokens() / 2) : below.maxTokens());
      all.addAll(run(profile, below == null ? profile : below, pack, small, expected));
      below = profile;
    }
    return all;
  }

  private static List<Result> run(
      VelocityEngine profile,
      VelocityEngine below,
      Filled pack,
      ForwardInputs small,
      float[] expected)
      throws EngineException {
    NitConfig config = profile.config();
    int size = config.tokenSize();
    ForwardInputs image = image(config, pack.h, pack.w);
    float[] found = forward(profile, pack.inputs(config, small, image));
    int end = pack.repeatedTokens(small.layout()) * size;
    String name = pack.repeated.length + pack.count + " images, " + found.length / size + " tokens";
    List<Result> all = new ArrayList<>();
    if (end > 0) {
      float[] right = new float[end];
      int at = 0;
      for (int i : pack.repeated) {
        int length = small.layout().tokens(i) * size;
        System.arraycopy(expected, small.layout().start(i) * size, right, at, length);
        at += length;
      }
      Parity parity = Parity.of(Arrays.copyOf(found, end), right);
      all.add(
          new Result(
              profile.maxTokens(),
              name + ", repeats of " + names(small.layout()),
              SMALL_PACK,
              parity));
    }
    float[] one = forward(below, image);
    float[] right = new float[found.length - end];
    for (int at = 0; at < right.length; at += one.length) {
      System.arraycopy(one, 0, right, at, one.length);
    }
    Parity parity = Parity.of(Arrays.copyOfRange(found, end, found.length), right);
    all.add(
        new Result(
            profile.maxTokens(),
            name + ", " + pack.count + " of " + pack.h + "x" + pack.w,
            below == profile ? "that image alone" : "profile of " + below.maxTokens() + " tokens",
            parity));
    return all;
  }

  /** A layout's images as a user reads them, {@code 3x5 1x1}. */
  private static String names(PackLayout layout) {
    StringBuilder names = new StringBuilder();
    for (int i = 0; i < layout.images(); i++) {
      names.append(i == 0 ? "" : " ").append(layout.h(i)).append('x').append(layout.w(i));
    }
    return names.toString();
  }

  private static float[] forward(VelocityEngine engine, ForwardInputs in) throws EngineException {
    FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
    engine.forward(in, v);
    return v.array();
  }

  /** One image of noise. */
  private static ForwardInputs image(NitConfig config, int h, int w) {
    PackLayout layout = PackLayout.of(new int[] {h}, new int[] {w});
    double[] noise = new Philox(SEED, 0).normals(layout.tokens() * config.tokenSize());
    FloatBuffer x = FloatBuffer.allocate(noise.length);
    for (double value : noise) {
      x.put((float) value);
    }
    return inputs(config, layout, x.flip(), new float[] {TIME}, new long[] {0});
  }

  private static ForwardInputs inputs(
      NitConfig config, PackLayout layout, FloatBuffer x, float[] t, long[] y) {
    return new ForwardInputs(layout, x, t, y, new Rope2d().tables(RopeSpec.of(config), layout));
  }

  /**
   * A pack that fills a profile.
   *
   * @param repeated for each of the first images the one of the small pack that it repeats
   * @param count images behind them
   * @param h their height
   * @param w their width
   */
  record Filled(int[] repeated, int count, int h, int w) {
    /**
     * Chooses the images: small ones for up to half the tokens, as many as the profile holds, and
     * large ones for the rest.
     *
     * @param largest the most tokens of a large image
     */
    static Filled of(VelocityEngine profile, PackLayout small, int largest) {
      int tokens = profile.maxTokens();
      int images = profile.maxImages();
      int[] most = repeats(small, tokens / 2, images - 1);
      int rest = tokens - tokens(small, most);
      int count = Math.min((rest + largest - 1) / largest, Math.max(1, images / 2));
      int each = Math.min(largest, rest / count);
      int side = Math.max(1, (int) Math.sqrt(each));
      int h = side;
      for (int other = side; 2 * other > side; other--) { // up to four times as wide as high
        h = other * (each / other) > h * (each / h) ? other : h;
      }
      int w = each / h;
      return new Filled(repeats(small, tokens - count * h * w, images - count), count, h, w);
    }

    /** The small images in turn, those that still fit. */
    private static int[] repeats(PackLayout small, int tokens, int images) {
      int[] all = new int[Math.max(0, Math.min(tokens, images))];
      int count = 0;
      int left = tokens;
      int passed = 0;
      for (int i = 0; count < all.length && passed < small.images(); i = (i + 1) % small.images()) {
        if (small.tokens(i) <= left) {
          all[count++] = i;
          left -= small.tokens(i);
          passed = 0;
        } else {
          passed++;
        }
      }
      return Arrays.copyOf(all, count);
    }

    private static int tokens(PackLayout small, int[] images) {
      return Arrays.stream(images).map(small::tokens).sum();
    }

    int repeatedTokens(PackLayout small) {
      return tokens(small, repeated);
    }

    ForwardInputs inputs(NitConfig config, ForwardInputs small, ForwardInputs image) {
      int images = repeated.length + count;
      int[] heights = new int[images];
      int[] widths = new int[images];
      float[] t = new float[images];
      long[] y = new long[images];
      int size = config.tokenSize();
      int tokens = repeatedTokens(small.layout()) + count * h * w;
      FloatBuffer x = FloatBuffer.allocate(tokens * size);
      for (int i = 0; i < images; i++) {
        ForwardInputs from = i < repeated.length ? small : image;
        int k = i < repeated.length ? repeated[i] : 0;
        heights[i] = from.layout().h(k);
        widths[i] = from.layout().w(k);
        t[i] = from.t()[k];
        y[i] = from.y()[k];
        FloatBuffer source = from.x();
        int at = source.position() + from.layout().start(k) * size;
        x.put(source.duplicate().limit(at + from.layout().tokens(k) * size).position(at));
      }
      return ProfileCheck.inputs(config, PackLayout.of(heights, widths), x.flip(), t, y);
    }
  }
}
