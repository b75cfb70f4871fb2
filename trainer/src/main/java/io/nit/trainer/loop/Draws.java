package io.nit.trainer.loop;

import io.nit.core.flow.LinearPath;
import io.nit.core.flow.Philox;

/**
 * The random numbers of a training, each from a stream of its own that is named by the seed, the
 * purpose and the place in the data order ({@code step·accumulate + micro-step}). Nothing but the
 * step must be saved for a run to go on with the same numbers.
 *
 * @param seed key of every stream
 */
public record Draws(long seed) {
  // The top byte of a stream's number; 0 is PackOrder's.
  private static final long NOISE = 1L << 56;
  private static final long TIME = 2L << 56;
  private static final long LABEL = 3L << 56;
  private static final long MIRROR = 4L << 56;
  private static final long CROP = 5L << 56;

  /** Mirroring choices of a place. */
  public Philox mirror(long place) {
    return new Philox(seed, MIRROR | place);
  }

  /** Where a step's crops lie and which of them are mirrored. */
  public Philox crops(long step) {
    return new Philox(seed, CROP | step);
  }

  /** ε of a place, standard normal, [elements]. */
  public float[] noise(long place, int elements) {
    double[] normals = new Philox(seed, NOISE | place).normals(elements);
    float[] noise = new float[elements];
    for (int i = 0; i < elements; i++) {
      noise[i] = (float) normals[i];
    }
    return noise;
  }

  /** One t per image: σ = exp(mean + std·draw), t = σ / (1 + σ); [images]. */
  public float[] times(long place, int images, double mean, double std) {
    double[] normals = new Philox(seed, TIME | place).normals(images);
    float[] times = new float[images];
    for (int i = 0; i < images; i++) {
      times[i] = (float) LinearPath.time(normals[i], mean, std);
    }
    return times;
  }

  /** The labels, each replaced by {@code nullClass} with the given chance; a copy. */
  public long[] dropLabels(long place, long[] labels, double chance, long nullClass) {
    Philox stream = new Philox(seed, LABEL | place);
    long[] kept = labels.clone();
    for (int i = 0; i < kept.length; i++) {
      if (stream.uniform(i) < chance) {
        kept[i] = nullClass;
      }
    }
    return kept;
  }
}
