package io.nit.trainer.loop;

import org.bytedeco.javacpp.FloatPointer;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.cuda.CUDAEvent;
import org.bytedeco.pytorch.global.torch;
import org.bytedeco.pytorch.global.torch.ScalarType;

/** Numbers on their way from the device to the host, which does not wait for them. */
final class LateNumbers implements AutoCloseable {
  private final Tensor host;
  private final CUDAEvent copied; // null on a CPU
  private final PointerScope owned;
  private boolean closed;

  /**
   * Begins the copy, on the current stream.
   *
   * @param numbers [count] float32
   */
  LateNumbers(Tensor numbers) {
    try (PointerScope scope = new PointerScope()) {
      if (numbers.is_cuda()) {
        host = torch.empty(numbers.shape()).to(ScalarType.Float).pin_memory();
        host.copy_(numbers, true);
        copied = new CUDAEvent();
        copied.record();
      } else {
        host = numbers.clone();
        copied = null;
      }
      owned = scope.extend();
    }
  }

  /** The numbers; waits for them, and for no work that was queued after them. */
  float[] get() {
    if (closed) {
      throw new IllegalStateException("LateNumbers are closed");
    }
    if (copied != null) {
      copied.synchronize();
    }
    float[] values = new float[(int) host.numel()];
    try (PointerScope scope = new PointerScope()) {
      new FloatPointer(host.data_ptr()).get(values);
    }
    return values;
  }

  /** Frees the host's memory. Safe to call twice. */
  @Override
  public void close() {
    if (!closed) {
      closed = true;
      owned.close();
    }
  }
}
