package io.nit.exporter.trt;

import io.nit.core.cuda.BuildMonitor;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.nvinfer.IProgressMonitor;

/**
 * A build monitor as TensorRT's Java bindings take one. It does not own the object of the plugin
 * library behind it, and is of use until that is closed.
 */
public final class MonitorView extends IProgressMonitor {
  /**
   * A view of a monitor, which stays the caller's.
   *
   * @throws IllegalStateException if the monitor is closed
   */
  public MonitorView(BuildMonitor monitor) {
    super((Pointer) null);
    address = monitor.address();
  }
}
