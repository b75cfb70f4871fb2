package io.nit.runtime.trt;

import static io.nit.runtime.trt.TensorRtEngine.require;

import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtPlan;
import java.nio.FloatBuffer;
import java.nio.LongBuffer;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.BitSet;
import java.util.HashMap;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Map;
import java.util.Set;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.nvinfer.IExecutionContext;

/**
 * The modulations of all blocks, one row on the device for each pair of time and label. Rows are
 * computed when a pack first asks for them, or ahead when a picture's times are announced, always a
 * fixed number at once: the weights are read once for all of them. A full table gives up the rows
 * that were computed first, never those of the pack at hand.
 *
 * <p>Works on its owner's stream and under its owner's lock.
 */
final class ModulationTable implements AutoCloseable {
  /** What a row depends on; times are told apart by their bits. */
  private record Key(int time, long label) {
    static Key of(float time, long label) {
      return new Key(Float.floatToRawIntBits(time), label);
    }
  }

  private final TensorRtPlan plan;
  private final CUstream_st stream;
  private final int rows;
  private final int atOnce;
  private final long rowBytes;
  private final Key[] keys;
  private final Map<Key, Integer> known = new HashMap<>();
  private int next;
  private Binding times;
  private Binding labels;
  private CUevent_st copied;
  private Pointer computed;
  private Pointer table;
  private IExecutionContext context;

  /**
   * Takes the memory.
   *
   * @param plan from t and y to modulation; stays the caller's
   * @param rows of the table
   * @param rowBytes bytes of a row
   * @throws TensorRtException if there is too little memory
   */
  ModulationTable(TensorRtPlan plan, int rows, long rowBytes, CUstream_st stream)
      throws TensorRtException {
    this.plan = plan;
    this.stream = stream;
    this.rows = rows;
    this.rowBytes = rowBytes;
    this.atOnce = plan.largest("t", 0);
    this.keys = new Key[rows];
    try {
      table = Cuda.allocate(rows * rowBytes, "table of " + rows + " modulations");
      computed = Cuda.allocate(atOnce * rowBytes, "modulations of " + atOnce + " rows");
      times = new Binding("t", (long) atOnce * Float.BYTES);
      labels = new Binding("y", (long) atOnce * Long.BYTES);
      copied = Cuda.event();
      context = plan.contextWithMemory();
      require(context.setTensorAddress("t", times.device()), "t");
      require(context.setTensorAddress("y", labels.device()), "y");
      require(context.setTensorAddress("modulation", computed), "modulation");
    } catch (TensorRtException | RuntimeException | Error e) {
      close();
      throw e;
    }
  }

  /** The table on the device, [rows, columns]. */
  Pointer device() {
    return table;
  }

  /**
   * The rows of a pack's images; those that are missing are computed.
   *
   * @param t [images]
   * @param y [images]
   * @return [images], valid until the next call
   */
  int[] rows(float[] t, long[] y) throws TensorRtException {
    Key[] asked = new Key[t.length];
    int[] found = new int[t.length];
    Set<Key> missing = new LinkedHashSet<>();
    BitSet kept = new BitSet(rows);
    for (int i = 0; i < found.length; i++) {
      asked[i] = Key.of(t[i], y[i]);
      Integer row = known.get(asked[i]);
      if (row == null) {
        missing.add(asked[i]);
      } else {
        found[i] = row;
        kept.set(row);
      }
    }
    if (!missing.isEmpty()) {
      compute(List.copyOf(missing), kept);
      Arrays.setAll(found, i -> known.get(asked[i]));
    }
    return found;
  }

  /** Computes ahead what will be asked for, as far as half of the table holds it. */
  void announce(float[] t, long[] y) throws TensorRtException {
    Set<Key> missing = new LinkedHashSet<>();
    for (int i = 0; i < t.length && missing.size() < rows / 2; i++) {
      Key key = Key.of(t[i], y[i]);
      if (!known.containsKey(key)) {
        missing.add(key);
      }
    }
    compute(List.copyOf(missing), new BitSet(rows));
  }

  private void compute(List<Key> missing, BitSet kept) throws TensorRtException {
    for (int from = 0; from < missing.size(); from += atOnce) {
      compute(missing, from, Math.min(missing.size(), from + atOnce), kept);
    }
  }

  private void compute(List<Key> missing, int from, int to, BitSet kept) throws TensorRtException {
    // The last rows' times have been copied; what runs meanwhile need not be waited for.
    Cuda.check(cudart.cudaEventSynchronize(copied), "modulations");
    FloatBuffer t = times.host(atOnce * Float.BYTES).asFloatBuffer();
    LongBuffer y = labels.host(atOnce * Long.BYTES).asLongBuffer();
    for (int i = 0; i < atOnce; i++) {
      Key key = missing.get(Math.min(from + i, to - 1));
      t.put(Float.intBitsToFloat(key.time));
      y.put(key.label);
    }
    times.upload((long) atOnce * Float.BYTES, stream);
    labels.upload((long) atOnce * Long.BYTES, stream);
    Cuda.check(cudart.cudaEventRecord(copied, stream), "CUDA event");
    require(context.enqueueV3(stream), "the modulations");
    List<Integer> taken = new ArrayList<>();
    while (taken.size() < to - from) {
      if (!kept.get(next)) {
        taken.add(next);
      }
      next = (next + 1) % rows;
    }
    for (int i = 0; i < taken.size(); ) {
      int first = taken.get(i);
      int run = 1;
      while (i + run < taken.size() && taken.get(i + run) == first + run) {
        run++;
      }
      copy(i, first, run);
      i += run;
    }
    for (int i = 0; i < taken.size(); i++) {
      int row = taken.get(i);
      kept.set(row);
      if (keys[row] != null) {
        known.remove(keys[row]);
      }
      keys[row] = missing.get(from + i);
      known.put(keys[row], row);
    }
  }

  private void copy(int from, int row, int count) throws TensorRtException {
    Cuda.check(
        cudart.cudaMemcpyAsync(
            new BytePointer(table).position(row * rowBytes),
            new BytePointer(computed).position(from * rowBytes),
            count * rowBytes,
            cudart.cudaMemcpyDeviceToDevice,
            stream),
        "copy of modulations");
  }

  /** Forgets all rows: the device may not hold what was computed last. */
  void forget() {
    known.clear();
    Arrays.fill(keys, null);
  }

  /** Frees its memory; may be called twice. */
  @Override
  public void close() {
    TensorRtPlan.close(context);
    context = null;
    for (Binding binding : Arrays.asList(times, labels)) {
      if (binding != null) {
        binding.close();
      }
    }
    Cuda.destroy(copied);
    Cuda.free(computed);
    Cuda.free(table);
  }
}
