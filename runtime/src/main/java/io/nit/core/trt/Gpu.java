package io.nit.core.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.cuda.PluginLibrary;
import java.util.Optional;
import org.bytedeco.cuda.cudart.cudaDeviceProp;
import org.bytedeco.cuda.global.cudart;

/**
 * A GPU and the CUDA that drives it.
 *
 * @param device its number
 * @param name as the driver calls it
 * @param major of the compute capability, 9 for an H100
 * @param minor of the compute capability
 * @param memory its bytes
 * @param runtime version of the CUDA runtime, for example 12.6
 * @param driver version of CUDA that the driver knows, for example 13.0
 */
public record Gpu(
    int device, String name, int major, int minor, long memory, String runtime, String driver) {

  /**
   * Asks CUDA for a device and makes it the current one of this thread.
   *
   * @throws TensorRtException if there is no driver or no such device
   */
  public static Gpu open(int device) throws TensorRtException {
    int count = count();
    if (device < 0 || device >= count) {
      throw new TensorRtException("device: expected 0.." + (count - 1) + ", found " + device);
    }
    Cuda.check(cudart.cudaSetDevice(device), "device " + device);
    try (cudaDeviceProp properties = new cudaDeviceProp()) {
      Cuda.check(
          cudart.cudaGetDeviceProperties(properties, device), "properties of device " + device);
      return new Gpu(
          device,
          properties.name().getString(),
          properties.major(),
          properties.minor(),
          properties.totalGlobalMem(),
          version(cudart::cudaRuntimeGetVersion),
          version(cudart::cudaDriverGetVersion));
    }
  }

  /**
   * How many devices CUDA has, at least one.
   *
   * @throws TensorRtException if there is no driver or no device
   */
  public static int count() throws TensorRtException {
    int[] count = new int[1];
    int error = cudart.cudaGetDeviceCount(count);
    if (error != cudart.cudaSuccess) {
      throw new TensorRtException("expected a CUDA device, found none: " + Cuda.text(error));
    }
    return count[0];
  }

  private interface VersionCall {
    int get(int[] version);
  }

  private static String version(VersionCall call) {
    int[] version = new int[1];
    return call.get(version) == cudart.cudaSuccess
        ? version[0] / 1000 + "." + version[0] % 1000 / 10
        : "unknown";
  }

  /**
   * What plans depend on.
   *
   * @param plugins the plugins' library, if there is one
   */
  public EngineManifest.Host host(Optional<PluginLibrary> plugins) {
    return new EngineManifest.Host(
        TensorRt.version(),
        runtime,
        name,
        computeCapability(),
        plugins.map(library -> new EngineManifest.Plugins(library.version(), library.sha256())));
  }

  /** For example 9.0. */
  public String computeCapability() {
    return major + "." + minor;
  }

  @Override
  public String toString() {
    return name
        + " (compute capability "
        + computeCapability()
        + ", "
        + (memory >> 30)
        + " GiB, CUDA "
        + runtime
        + ", driver for CUDA "
        + driver
        + ")";
  }
}
