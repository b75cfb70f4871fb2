package io.nit.trainer.model;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Locale;
import java.util.Optional;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.pytorch.global.torch_cuda;

/**
 * Why libtorch finds no CUDA device, from what it needs: its own CUDA build, NVIDIA's driver, one
 * that is new enough, and a device.
 *
 * @param cudaBuild whether libtorch's CUDA build is there, with CUDA's own libraries
 * @param kernelModule what the driver's kernel module says of itself; empty if it is not loaded
 * @param driver CUDA version that the driver supports, as {@code 12060}; 0 if not known
 * @param runtime CUDA version of the libraries, likewise
 * @param visible what CUDA_VISIBLE_DEVICES says, if it is set
 */
record CudaProbe(
    boolean cudaBuild, String kernelModule, int driver, int runtime, Optional<String> visible) {
  private static final Path MODULE = Path.of("/proc/driver/nvidia/version");

  /** Looks at this machine. */
  static CudaProbe look() {
    boolean build;
    int[] driver = {0};
    int[] runtime = {0};
    try {
      Loader.load(torch_cuda.class);
      build = true;
      if (cudart.cudaDriverGetVersion(driver) != cudart.cudaSuccess) {
        driver[0] = 0;
      }
      if (cudart.cudaRuntimeGetVersion(runtime) != cudart.cudaSuccess) {
        runtime[0] = 0;
      }
    } catch (LinkageError e) {
      // Without the driver's library the CUDA build cannot be loaded, but it is there.
      build = names(e, "libcuda.so");
    }
    return new CudaProbe(
        build,
        module(),
        driver[0],
        runtime[0],
        Optional.ofNullable(System.getenv("CUDA_VISIBLE_DEVICES")));
  }

  private static boolean names(Throwable failure, String library) {
    for (Throwable cause = failure; cause != null; cause = cause.getCause()) {
      if (cause.getMessage() != null && cause.getMessage().contains(library)) {
        return true;
      }
    }
    return false;
  }

  private static String module() {
    try {
      return Files.readString(MODULE).lines().findFirst().orElse("");
    } catch (IOException e) {
      return "";
    }
  }

  /** Whether a driver is there that is too old for the libraries, and what is needed. */
  Optional<String> driverTooOld() {
    // Within a major version an older driver runs newer libraries.
    if (!cudaBuild || driver == 0 || driver / 1000 >= runtime / 1000) {
      return Optional.empty();
    }
    return Optional.of(
        String.format(
            Locale.ROOT,
            "NVIDIA's driver is too old: expected one for CUDA %d.0 or newer, as these libraries are"
                + " of CUDA %s, found one for CUDA %s%s",
            runtime / 1000,
            version(runtime),
            version(driver),
            kernelModule.isEmpty() ? "" : " (" + kernelModule + ")"));
  }

  private static String version(int number) {
    return number / 1000 + "." + number % 1000 / 10;
  }

  /** What was looked for and what was found, and how to go on without. */
  String absent() {
    String found;
    if (!cudaBuild) {
      found =
          "no CUDA build of libtorch on the class path or LD_LIBRARY_PATH (mvn -Pgpu has it)"
              + (kernelModule.isEmpty() ? " and no NVIDIA driver" : "");
    } else if (driverTooOld().isPresent()) {
      found = driverTooOld().get();
    } else if (driver == 0) {
      found =
          kernelModule.isEmpty()
              ? "no NVIDIA driver (no libcuda.so.1 and no " + MODULE + ")"
              : "NVIDIA's driver without its libcuda.so.1 (" + kernelModule + ")";
    } else {
      found =
          "NVIDIA's driver for CUDA "
              + version(driver)
              + " but no device"
              + visible.map(v -> " (CUDA_VISIBLE_DEVICES is '" + v + "')").orElse("");
    }
    return "expected a CUDA device, found " + found + "; to train on the CPU: --device cpu";
  }
}
