package io.nit.runtime.trt;

import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRtException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;

/** One input or output: its memory on the device, and pinned memory of the host to copy through. */
final class Binding implements AutoCloseable {
  private final String name;
  private final Pointer device;
  private final BytePointer host;
  private final ByteBuffer view;

  /** Allocates both sides for at most {@code bytes}. */
  Binding(String name, long bytes) throws TensorRtException {
    this.name = name;
    this.device = Cuda.allocate(bytes, name);
    BytePointer pinned;
    try {
      pinned = Cuda.allocateHost(bytes, name + "'s copy on the host");
    } catch (TensorRtException e) {
      Cuda.free(device);
      throw e;
    }
    this.host = pinned;
    this.view = pinned.asByteBuffer().order(ByteOrder.nativeOrder());
  }

  /** The input's or output's name. */
  String name() {
    return name;
  }

  /** The memory on the device. */
  Pointer device() {
    return device;
  }

  /** The host's side, cleared, of {@code bytes}. */
  ByteBuffer host(int bytes) {
    return view.duplicate().order(ByteOrder.nativeOrder()).clear().limit(bytes);
  }

  /** Starts the copy of the host's first {@code bytes} to the device. */
  void upload(long bytes, CUstream_st stream) throws TensorRtException {
    Cuda.check(
        cudart.cudaMemcpyAsync(device, host, bytes, cudart.cudaMemcpyHostToDevice, stream),
        "copy of " + name + " to the device");
  }

  /** Starts the copy of the device's first {@code bytes} to the host. */
  void download(long bytes, CUstream_st stream) throws TensorRtException {
    Cuda.check(
        cudart.cudaMemcpyAsync(host, device, bytes, cudart.cudaMemcpyDeviceToHost, stream),
        "copy of " + name + " to the host");
  }

  @Override
  public void close() {
    Cuda.free(device);
    Cuda.freeHost(host);
  }
}
