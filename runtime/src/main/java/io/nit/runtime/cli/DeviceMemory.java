package io.nit.runtime.cli;

import io.nit.core.trt.Cuda;
import java.util.Optional;

/**
 * The most memory of a GPU that was in use when it was looked at: all of the device's, by other
 * processes too, as CUDA tells no process's own.
 */
final class DeviceMemory {
  private final int device;
  private boolean told;
  private Optional<Cuda.Memory> most = Optional.empty();

  /**
   * Looks at nothing yet.
   *
   * @param onGpu whether what runs there does so on a GPU; a CPU has no device memory
   */
  DeviceMemory(int device, boolean onGpu) {
    this.device = device;
    this.told = onGpu;
  }

  /** Looks. */
  void look() {
    if (!told) {
      return;
    }
    try {
      Optional<Cuda.Memory> now = Cuda.memory(device);
      if (most.isEmpty() || now.isPresent() && now.get().used() > most.get().used()) {
        most = now;
      }
    } catch (LinkageError e) {
      told = false; // ONNX Runtime needs none of our CUDA jars
    }
  }

  /** What was found; empty where nothing was told. */
  Optional<Cuda.Memory> most() {
    return most;
  }
}
