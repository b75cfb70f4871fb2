package io.nit.core.trt;

import io.nit.core.cuda.PluginLibrary;
import java.util.Optional;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.global.nvinfer;
import org.bytedeco.tensorrt.nvinfer.ICudaEngine;
import org.bytedeco.tensorrt.nvinfer.IRuntime;

/**
 * What reads plans on a device, with the plugins that they hold. Reads several at once. Safe to
 * close twice, after the engines that it read.
 */
final class PlanRuntime implements AutoCloseable {
  private final Gpu gpu;
  private IRuntime runtime;

  private PlanRuntime(Gpu gpu) {
    this.gpu = gpu;
  }

  /**
   * Starts TensorRT's runtime.
   *
   * @param plugins the library of the plugins that its plans hold, if they hold any
   * @param hostCode whether plans may bring a runtime of their own
   * @throws TensorRtException if there is no GPU or TensorRT does not take the library
   */
  static PlanRuntime open(Optional<PluginLibrary> plugins, int device, boolean hostCode)
      throws TensorRtException {
    Gpu gpu = Gpu.open(device);
    if (plugins.isPresent()) {
      TensorRtPlan.requireArchitecture(plugins.get(), gpu);
    }
    PlanRuntime opened = new PlanRuntime(gpu);
    try {
      opened.start(plugins, hostCode);
      return opened;
    } catch (TensorRtException | RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  private void start(Optional<PluginLibrary> plugins, boolean hostCode) throws TensorRtException {
    TensorRtLogger logger = TensorRtLogger.shared();
    logger.begin();
    runtime = NativeOwners.owned(nvinfer.createInferRuntime(logger));
    if (runtime == null) {
      throw new TensorRtException(
          "TensorRT's runtime does not start: " + logger.errors() + Cuda.littleMemory());
    }
    if (hostCode) {
      runtime.setEngineHostCodeAllowed(true);
    }
    if (plugins.isPresent()) {
      // An engine that holds our plugins can only be read once their library is known.
      Pointer handle = runtime.getPluginRegistry().loadLibrary(plugins.get().file().toString());
      if (handle == null || handle.isNull()) {
        throw new TensorRtException(
            "TensorRT does not take " + plugins.get() + ": " + logger.errors());
      }
    }
  }

  /** The GPU that engines are read on. */
  Gpu gpu() {
    return gpu;
  }

  /** Makes an engine of a plan's bytes; null if TensorRT does not take them. */
  ICudaEngine engine(Pointer plan, long bytes) {
    return NativeOwners.owned(runtime.deserializeCudaEngine(plan, bytes));
  }

  @Override
  public void close() {
    NativeOwners.close(runtime);
    runtime = null;
  }
}
