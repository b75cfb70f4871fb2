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

  /** Gives back to the GPU what is in no tensor; waits for the GPU. */
  public static void releaseUnused() {
    torch_cuda.getAllocator().emptyCache();
  }

  /**
   * How often the allocator has gone to the driver since the process began; once the sizes have
   * settled, none of these may grow.
   *
   * @param allocations memory taken from the GPU
   * @param frees memory given back, each time after waiting for the GPU
   * @param retries allocations that gave back all unused memory first
   */
  public record DriverCalls(long allocations, long frees, long retries) {
    /** What came after {@code earlier}. */
    public DriverCalls since(DriverCalls earlier) {
      return new DriverCalls(
          allocations - earlier.allocations, frees - earlier.frees, retries - earlier.retries);
    }
  }

  /** The counts now. */
  public static DriverCalls driverCalls() {
    try (PointerScope scope = new PointerScope()) {
      var stats = torch_cuda.getAllocator().getDeviceStats(torch_cuda.current_device());
      return new DriverCalls(
          stats.num_device_alloc(), stats.num_device_free(), stats.num_alloc_retries());
    }
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
