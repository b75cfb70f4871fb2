package io.nit.core.rope;

import io.nit.core.config.PositionOrder;
import io.nit.core.packing.PackLayout;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Axial 2-D rotary position embedding with the extrapolation modes of the authors' {@code
 * VisionRotaryEmbedding}; the only place in the project that orders positions.
 *
 * <p>Legend: dim = headDim / 2, the values of one axis; freq_j, j = 0..dim/2-1; L₀ the reference
 * length; s = max(length / L₀, 1). The head's first half turns by the first axis' position, the
 * second half by the second's; pairs are adjacent, so every frequency stands twice. Frequencies and
 * angles are single precision, as the authors compute them.
 */
public final class Rope2d {
  private static final int CACHED_SIZES = 64;
  private static final long CACHED_FLOATS = 1 << 24; // 64 MiB

  private static final int CACHED_AXES = 256;

  private record Key(RopeSpec spec, int h, int w) {}

  /** What the numbers of one axis follow from besides the position. */
  private record AxisKey(List<Float> freqs, float magnitude) {}

  /** Gives cos and sin of at least the first {@code length} positions, see {@link #axis}. */
  private interface Axes {
    float[][] of(float[] freqs, int length, float magnitude);
  }

  private final Map<Key, RopeTables> cache = new LinkedHashMap<>(16, 0.75f, true);
  private final Map<AxisKey, float[][]> axes =
      new LinkedHashMap<>(16, 0.75f, true) {
        @Override
        protected boolean removeEldestEntry(Map.Entry<AxisKey, float[][]> eldest) {
          return size() > CACHED_AXES;
        }
      };
  private long cachedFloats;

  /** A generator with a cache of the sizes seen last; safe for use by several threads. */
  public Rope2d() {}

  /** Tables of a pack whose images all follow {@code spec}. */
  public RopeTables tables(RopeSpec spec, PackLayout layout) {
    return tables(Collections.nCopies(layout.images(), spec), layout);
  }

  /**
   * Tables of a pack, each image by its own spec.
   *
   * @param specs one per image, all of one headDim
   */
  public RopeTables tables(List<RopeSpec> specs, PackLayout layout) {
    int headDim = specs.get(0).headDim();
    float[] cos = new float[Math.multiplyExact(layout.tokens(), headDim)];
    float[] sin = new float[cos.length];
    for (int i = 0; i < layout.images(); i++) {
      if (specs.get(i).headDim() != headDim) {
        throw new IllegalArgumentException(
            "expected one headDim in a pack, found " + headDim + " and " + specs.get(i).headDim());
      }
      RopeTables image = cached(new Key(specs.get(i), layout.h(i), layout.w(i)));
      int at = layout.start(i) * headDim;
      System.arraycopy(image.cos(), 0, cos, at, image.cos().length);
      System.arraycopy(image.sin(), 0, sin, at, image.sin().length);
    }
    return new RopeTables(cos, sin, layout.tokens(), headDim);
  }

  private RopeTables cached(Key key) {
    synchronized (cache) {
      RopeTables found = cache.get(key);
      if (found != null) {
        return found;
      }
    }
    RopeTables made = image(key.spec, key.h, key.w, this::cachedAxis);
    synchronized (cache) {
      if (cache.put(key, made) == null) {
        cachedFloats += 2L * made.cos().length;
      }
      while (cache.size() > CACHED_SIZES || cachedFloats > CACHED_FLOATS && cache.size() > 1) {
        Key eldest = cache.keySet().iterator().next();
        cachedFloats -= 2L * cache.remove(eldest).cos().length;
      }
    }
    return made;
  }

  /** Sizes that are new have mostly axes that are not: cos and sin are what takes the time. */
  private float[][] cachedAxis(float[] freqs, int length, float magnitude) {
    List<Float> values = new ArrayList<>(freqs.length);
    for (float freq : freqs) {
      values.add(freq);
    }
    AxisKey key = new AxisKey(values, magnitude);
    synchronized (axes) {
      float[][] found = axes.get(key);
      if (found != null && found[0].length >= length * freqs.length) {
        return found;
      }
    }
    float[][] made = axis(freqs, length, magnitude);
    synchronized (axes) {
      axes.merge(key, made, (old, now) -> old[0].length > now[0].length ? old : now);
    }
    return made;
  }

  /** Tables of one h×w image, computed anew. */
  public static RopeTables image(RopeSpec spec, int h, int w) {
    return image(spec, h, w, Rope2d::axis);
  }

  private static RopeTables image(RopeSpec spec, int h, int w, Axes axes) {
    int quarter = spec.headDim() / 4;
    int lengthH = spec.maxPeLenH() > 0 ? spec.maxPeLenH() : h;
    int lengthW = spec.maxPeLenW() > 0 ? spec.maxPeLenW() : w;
    int longer = Math.max(lengthH, lengthW);
    float[] first = frequencies(spec, spec.decouple() ? lengthH : longer);
    float[] second = frequencies(spec, spec.decouple() ? lengthW : longer);
    float magnitude = magnitude(spec, lengthH, lengthW);

    int tokens = h * w;
    float[] cos = new float[tokens * spec.headDim()];
    float[] sin = new float[cos.length];
    boolean released = spec.positionOrder() == PositionOrder.RELEASED;
    float[][] firstTable = axes.of(first, h, magnitude);
    float[][] secondTable = axes.of(second, w, magnitude);
    int at = 0;
    for (int k = 0; k < tokens; k++) {
      int p = released ? k % h : k / w;
      int q = released ? k / h : k % w;
      for (int j = 0; j < quarter; j++, at += 2) {
        cos[at] = cos[at + 1] = firstTable[0][p * quarter + j];
        sin[at] = sin[at + 1] = firstTable[1][p * quarter + j];
      }
      for (int j = 0; j < quarter; j++, at += 2) {
        cos[at] = cos[at + 1] = secondTable[0][q * quarter + j];
        sin[at] = sin[at + 1] = secondTable[1][q * quarter + j];
      }
    }
    return new RopeTables(cos, sin, tokens, spec.headDim());
  }

  /** cos and sin of every position of one axis, [length, dim/2] each. */
  private static float[][] axis(float[] freqs, int length, float magnitude) {
    float[][] table = new float[2][length * freqs.length];
    for (int p = 0; p < length; p++) {
      for (int j = 0; j < freqs.length; j++) {
        float angle = p * freqs[j];
        table[0][p * freqs.length + j] = (float) StrictMath.cos(angle) * magnitude;
        table[1][p * freqs.length + j] = (float) StrictMath.sin(angle) * magnitude;
      }
    }
    return table;
  }

  /** freq_j of one axis of {@code length} tokens, [dim/2]. */
  static float[] frequencies(RopeSpec spec, int length) {
    int dim = spec.headDim() / 2;
    double l0 = spec.oriMaxPeLen();
    double s = l0 > 0 ? Math.max(length / l0, 1) : 1;
    double ntkBase = dim > 2 ? spec.theta() * Math.pow(s, dim / (dim - 2.0)) : spec.theta();
    float[] freqs = new float[dim / 2];
    for (int j = 0; j < freqs.length; j++) {
      double exponent = 2.0 * j / dim;
      double plain = 1 / Math.pow(spec.theta(), exponent);
      double linear = plain / s;
      double ntk = 1 / Math.pow(ntkBase, exponent);
      freqs[j] =
          (float)
              switch (spec.customFreqs()) {
                case NORMAL, SCALE1, SCALE2 -> plain;
                case LINEAR -> linear;
                case NTK_AWARE, NTK_AWARE_PRO1, NTK_AWARE_PRO2 -> ntk;
                case NTK_BY_PARTS -> {
                  double blended = blend(linear, ntk, keep(spec, dim, 1.25, 0.75, j));
                  yield blend(blended, plain, keep(spec, dim, 16, 2, j));
                }
                case YARN -> blend(linear, plain, keep(spec, dim, 32, 1, j));
              };
    }
    return freqs;
  }

  /**
   * Weight of the less stretched frequency: 1 below the correction range of {@code high} to {@code
   * low} rotations over the reference length, 0 above it, a ramp between.
   */
  private static double keep(RopeSpec spec, int dim, double high, double low, int j) {
    double from = Math.max(Math.floor(correction(spec, dim, high)), 0);
    double to = Math.min(Math.ceil(correction(spec, dim, low)), dim - 1);
    if (from == to) {
      to += 0.001; // the authors' guard against a division by zero
    }
    return 1 - Math.min(Math.max((j - from) / (to - from), 0), 1);
  }

  /** The dimension that turns {@code rotations} times over L₀ tokens. */
  private static double correction(RopeSpec spec, int dim, double rotations) {
    return dim
        * Math.log(spec.oriMaxPeLen() / (2 * Math.PI * rotations))
        / (2 * Math.log(spec.theta()));
  }

  private static double blend(double otherwise, double kept, double weight) {
    return otherwise * (1 - weight) + kept * weight;
  }

  /** The factor on cos and sin. */
  static float magnitude(RopeSpec spec, int h, int w) {
    double l0 = spec.oriMaxPeLen();
    int longer = Math.max(h, w);
    return (float)
        switch (spec.customFreqs()) {
          case YARN -> {
            double s = Math.max(longer / l0, 1);
            yield s <= 1 ? 1 : 0.1 * Math.log(s) + 1;
          }
          case SCALE1, NTK_AWARE_PRO1 -> proportion(longer, l0);
          case SCALE2, NTK_AWARE_PRO2 -> proportion((double) h * w, l0 * l0);
          default -> 1;
        };
  }

  private static double proportion(double test, double trained) {
    return 2 * test / trained <= 1 ? 1 : Math.sqrt(Math.log(2 * test) / Math.log(trained));
  }
}
