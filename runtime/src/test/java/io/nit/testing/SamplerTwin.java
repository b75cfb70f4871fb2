package io.nit.testing;

import io.nit.core.cuda.SamplerKernels;
import io.nit.core.flow.Move;
import java.nio.ByteBuffer;
import java.util.Arrays;

/** The kernels of {@link SamplerKernels} in plain Java, over the same table and memory. */
public final class SamplerTwin {
  private SamplerTwin() {}

  private record Row(int first, int second, int from, int to, int elements, Move move) {}

  private static Row row(ByteBuffer table, int index, int count, int elements) {
    ByteBuffer row = table.duplicate().order(table.order());
    row.position(index * SamplerKernels.IMAGE_BYTES);
    int first = (int) row.getLong();
    int second = (int) row.getLong();
    int from = (int) row.getLong();
    int to = (int) row.getLong();
    double t = row.getDouble();
    double dt = row.getDouble();
    double scale = row.getDouble();
    double spread = row.getDouble();
    Move.Rule rule = Move.Rule.values()[row.getInt()];
    int end =
        index + 1 == count
            ? elements
            : (int) table.getLong((index + 1) * SamplerKernels.IMAGE_BYTES);
    return new Row(
        first,
        second,
        from,
        to,
        end - first,
        new Move(rule, t, dt, second >= 0, scale, spread, false));
  }

  /** {@link SamplerKernels#gather}. */
  public static void gather(
      ByteBuffer table, double[] state, double[] velocity, float[] x, int elements, int count) {
    for (int image = 0; image < count; image++) {
      Row row = row(table, image, count, elements);
      for (int i = 0; i < row.elements; i++) {
        double value = state[row.from + i];
        if (row.move.rule() == Move.Rule.CORRECT) {
          value = row.move.ahead(value, velocity[row.from + i]);
        }
        x[row.first + i] = (float) value;
        if (row.second >= 0) {
          x[row.second + i] = (float) value;
        }
      }
    }
  }

  /** {@link SamplerKernels#advance}. */
  public static void advance(
      ByteBuffer table,
      double[] state,
      double[] velocity,
      float[] v,
      double[] noise,
      int[] failed,
      int elements,
      int count) {
    for (int image = 0; image < count; image++) {
      Row row = row(table, image, count, elements);
      Move move = row.move;
      double[] x = Arrays.copyOfRange(state, row.from, row.from + row.elements);
      double[] kept =
          move.rule() == Move.Rule.CORRECT
              ? Arrays.copyOfRange(velocity, row.from, row.from + row.elements)
              : new double[row.elements];
      double[] own =
          move.spread() == 0
              ? null
              : Arrays.copyOfRange(noise, row.first, row.first + row.elements);
      move.apply(x, kept, v, row.first, v, row.second, own);
      System.arraycopy(x, 0, state, row.to, row.elements);
      if (move.rule() == Move.Rule.PREDICT) {
        System.arraycopy(kept, 0, velocity, row.to, row.elements);
      }
      for (int i = 0; i < row.elements; i++) {
        double moved = move.rule() == Move.Rule.PREDICT ? move.ahead(x[i], kept[i]) : x[i];
        if (!Double.isFinite(moved)) {
          failed[image] = 1;
        }
      }
    }
  }
}
