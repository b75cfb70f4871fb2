package io.nit.core.flow;

import java.util.stream.IntStream;

/**
 * The counter-based generator Philox4x32-10 (Salmon et al., SC 2011). Any value of any stream can
 * be had without the ones before it, so an image's noise depends on its own seed alone, never on
 * what else is computed.
 *
 * <p>Key = the 64-bit seed; counter = (block number, stream), 64 bits each. Floats are made by
 * {@link StrictMath}, so every machine gives the same bits.
 */
public final class Philox {
  private static final int M0 = 0xD2511F53;
  private static final int M1 = 0xCD9E8D57;
  private static final int W0 = 0x9E3779B9;
  private static final int W1 = 0xBB67AE85;

  /** Values that a thread makes at a time; even. */
  private static final int PART = 256;

  /** Up to so many are made sooner than other threads are woken. */
  private static final int FEW = 2048;

  private final int key0;
  private final int key1;
  private final int stream0;
  private final int stream1;

  /**
   * One stream of one seed.
   *
   * @param seed any 64 bits
   * @param stream any 64 bits: independent values for each
   */
  public Philox(long seed, long stream) {
    key0 = (int) seed;
    key1 = (int) (seed >>> 32);
    stream0 = (int) stream;
    stream1 = (int) (stream >>> 32);
  }

  /** The four 32-bit words of a block of this stream, into {@code out}. */
  public void block(long number, int[] out) {
    int c0 = (int) number;
    int c1 = (int) (number >>> 32);
    int c2 = stream0;
    int c3 = stream1;
    int k0 = key0;
    int k1 = key1;
    for (int round = 0; round < 10; round++) {
      long p0 = (M0 & 0xffffffffL) * (c0 & 0xffffffffL);
      long p1 = (M1 & 0xffffffffL) * (c2 & 0xffffffffL);
      int n0 = (int) (p1 >>> 32) ^ c1 ^ k0;
      int n2 = (int) (p0 >>> 32) ^ c3 ^ k1;
      c1 = (int) p1;
      c3 = (int) p0;
      c0 = n0;
      c2 = n2;
      k0 += W0;
      k1 += W1;
    }
    out[0] = c0;
    out[1] = c1;
    out[2] = c2;
    out[3] = c3;
  }

  /** Uniform value {@code index} of this stream, in [0, 1): 53 random bits, two values a block. */
  public double uniform(long index) {
    int[] words = new int[4];
    block(index >>> 1, words);
    int at = (int) (index & 1) * 2;
    return bits53(words[at], words[at + 1]) * 0x1p-53;
  }

  /** Whole value {@code index} of this stream, uniform in 0..bound-1. */
  public int below(long index, int bound) {
    return (int) (uniform(index) * bound);
  }

  /**
   * The first {@code count} standard normal values of this stream (Box–Muller, two a block). Every
   * block can be had without the others, so several threads make them where there are many.
   */
  public double[] normals(int count) {
    double[] values = new double[count];
    IntStream parts = IntStream.range(0, (count + PART - 1) / PART);
    (count > FEW ? parts.parallel() : parts)
        .forEach(i -> normals(values, i * PART, Math.min(count, (i + 1) * PART)));
    return values;
  }

  /** Values from an even one on. */
  private void normals(double[] values, int from, int to) {
    int[] words = new int[4];
    for (int i = from; i < to; i += 2) {
      block(i >>> 1, words);
      double u = (bits53(words[0], words[1]) + 1) * 0x1p-53; // (0, 1]: its logarithm is finite
      double radius = StrictMath.sqrt(-2 * StrictMath.log(u));
      double angle = 2 * Math.PI * (bits53(words[2], words[3]) * 0x1p-53);
      values[i] = radius * StrictMath.cos(angle);
      if (i + 1 < to) {
        values[i + 1] = radius * StrictMath.sin(angle);
      }
    }
  }

  private static long bits53(int high, int low) {
    return ((long) high << 32 | low & 0xffffffffL) >>> 11;
  }
}
