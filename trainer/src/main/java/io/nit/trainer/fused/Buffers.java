package io.nit.trainer.fused;

import java.util.HashMap;
import java.util.Map;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/**
 * Memory that is kept from step to step, by name. A buffer has room for as many rows as were ever
 * asked for at once, so that packs of changing sizes settle on one amount of memory, and nothing is
 * given back and fetched again in between.
 */
final class Buffers implements AutoCloseable {
  private final Device device;
  private final int step;
  private final Map<String, Tensor> all = new HashMap<>();
  private long capacity;

  /**
   * Buffers on a device, without room at first.
   *
   * @param step their rows are a multiple of this, so that they grow seldom
   */
  Buffers(Device device, int step) {
    this.device = device;
    this.step = step;
  }

  /**
   * Makes room for {@code rows} rows in every buffer; what they hold is lost if they grow.
   *
   * @return whether memory was given back for that
   */
  boolean reserve(long rows) {
    if (rows <= capacity) {
      return false;
    }
    boolean held = !all.isEmpty();
    close();
    capacity = (rows + step - 1) / step * step;
    return held;
  }

  /**
   * The first rows of a buffer, with whatever they hold; belongs to the open {@code PointerScope}.
   *
   * @param width elements of a row; a name has one width and type
   */
  Tensor rows(String name, long rows, long width, ScalarType type) {
    if (rows > capacity) {
      throw new IllegalStateException(
          name + ": expected at most " + capacity + " rows, found " + rows);
    }
    Tensor whole = all.get(name);
    if (whole == null) {
      try (PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        whole = torch.empty(0).to(device, type).new_empty(capacity, width);
        whole.retainReference(); // outlives the scope
      }
      all.put(name, whole);
    }
    return whole.narrow(0, 0, rows);
  }

  /** Gives all memory back. Safe to call twice; buffers that are asked for later are new ones. */
  @Override
  public void close() {
    all.values().forEach(Tensor::releaseReference);
    all.clear();
  }
}
