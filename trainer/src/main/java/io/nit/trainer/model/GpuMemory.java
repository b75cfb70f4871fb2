package io.nit.trainer.model;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.cuda.Stat;
import org.bytedeco.pytorch.global.torch_cuda;

/** What libtorch's allocator holds on the current GPU; only where there is one. */
public final class GpuMemory {
  private GpuMemory() {}

  /** The GPU's name, as the driver calls it. */
  public static String deviceName() {
    try (PointerScope scope = new PointerScope()) {
      return torch_cuda.getCurrentDeviceProperties().name().getString();
    }
  }

  /** Bytes of the GPU's memory. */
  public static long total() {
    try (PointerScope scope = new PointerScope()) {
      return torch_cuda.getCurrentDeviceProperties().totalGlobalMem();
    }
  }

  /** Bytes in tensors, the most since {@link #resetPeak}. */
  public static long peak() {
    return stat(false).peak;
  }

  /** Bytes in tensors now. */
  public static long allocated() {
    return stat(false).current;
  }

  /** Bytes taken from the GPU now, in tensors or kept for the next ones. */
  public static long reserved() {
    return stat(true).current;
  }

  /** Begins a new {@link #peak}. */
  public static void resetPeak() {
    torch_cuda.getAllocator().resetPeakStats(torch_cuda.current_device());
  }

  private record Bytes(long current, long peak) {}

  private static Bytes stat(boolean reserved) {
    try (PointerScope scope = new PointerScope()) {
      var stats = torch_cuda.getAllocator().getDeviceStats(torch_cuda.current_device());
      Stat stat = reserved ? stats.reserved_bytes() : stats.allocated_bytes();
      return new Bytes(stat.current(), stat.peak());
    }
  }
}
