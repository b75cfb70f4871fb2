package io.nit.core.trt;

import java.util.Optional;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.javacpp.SizeTPointer;

/** The few CUDA runtime calls that engines need, with their errors as exceptions. */
public final class Cuda {
  private static final long LITTLE = 1L << 30;

  /**
   * Memory of a device.
   *
   * @param used bytes that are in use, by whichever process
   * @param total all its bytes
   */
  public record Memory(long used, long total) {}

  private Cuda() {}

  /**
   * Checks what a CUDA call returned.
   *
   * @param what the call's purpose, for the message
   * @throws TensorRtException with CUDA's name and text of the error
   */
  public static void check(int error, String what) throws TensorRtException {
    if (error != cudart.cudaSuccess) {
      throw new TensorRtException(what + ": " + text(error));
    }
  }

  /** CUDA's name and text of an error. */
  static String text(int error) {
    return string(cudart.cudaGetErrorName(error)) + ", " + string(cudart.cudaGetErrorString(error));
  }

  private static String string(BytePointer text) {
    return text == null || text.isNull() ? "no text" : text.getString();
  }

  /**
   * Device memory.
   *
   * @param what what it is for, for the message
   * @return the memory, which the caller frees with {@link #free}
   * @throws TensorRtException if there is not enough; names how much is free
   */
  public static Pointer allocate(long bytes, String what) throws TensorRtException {
    Pointer memory = new Pointer();
    int error = cudart.cudaMalloc(memory, Math.max(bytes, 1));
    if (error != cudart.cudaSuccess) {
      cudart.cudaGetLastError(); // else the next call would report it again
      String free = ", " + (freeBytes() >> 20) + " MiB are free";
      throw tooLittle(what, bytes, "device memory" + free, error);
    }
    return memory.capacity(bytes);
  }

  private static TensorRtException tooLittle(String what, long bytes, String memory, int error) {
    return new TensorRtException(
        what
            + ": expected "
            + ((bytes >> 20) + 1)
            + " MiB of "
            + memory
            + " ("
            + text(error)
            + ")");
  }

  /** Frees device memory; null is fine. */
  public static void free(Pointer memory) {
    if (memory != null && !memory.isNull()) {
      cudart.cudaFree(memory);
      memory.setNull();
    }
  }

  /**
   * Host memory that the device copies from and to by itself.
   *
   * @return the memory, which the caller frees with {@link #freeHost}
   * @throws TensorRtException if there is not enough
   */
  public static BytePointer allocateHost(long bytes, String what) throws TensorRtException {
    BytePointer memory = new BytePointer((Pointer) null);
    int error = cudart.cudaMallocHost(memory, Math.max(bytes, 1));
    if (error != cudart.cudaSuccess) {
      cudart.cudaGetLastError(); // else the next call would report it again
      throw tooLittle(what, bytes, "pinned host memory", error);
    }
    return memory.capacity(bytes);
  }

  /** Frees host memory; null is fine. */
  public static void freeHost(Pointer memory) {
    if (memory != null && !memory.isNull()) {
      cudart.cudaFreeHost(memory);
      memory.setNull();
    }
  }

  /**
   * A stream that does not wait for the default one.
   *
   * @return the stream, which the caller frees with {@link #destroy(CUstream_st)}
   * @throws TensorRtException if CUDA makes none
   */
  public static CUstream_st stream() throws TensorRtException {
    CUstream_st stream = new CUstream_st();
    check(cudart.cudaStreamCreateWithFlags(stream, cudart.cudaStreamNonBlocking), "CUDA stream");
    return stream;
  }

  /** Frees a stream; null is fine. */
  public static void destroy(CUstream_st stream) {
    if (stream != null && !stream.isNull()) {
      cudart.cudaStreamDestroy(stream);
      stream.setNull();
    }
  }

  /**
   * An event that keeps the time.
   *
   * @return the event, which the caller frees with {@link #destroy(CUevent_st)}
   * @throws TensorRtException if CUDA makes none
   */
  public static CUevent_st event() throws TensorRtException {
    CUevent_st event = new CUevent_st();
    check(cudart.cudaEventCreate(event), "CUDA event");
    return event;
  }

  /** Frees an event; null is fine. */
  public static void destroy(CUevent_st event) {
    if (event != null && !event.isNull()) {
      cudart.cudaEventDestroy(event);
      event.setNull();
    }
  }

  /** Waits for a stream. */
  public static void synchronize(CUstream_st stream, String what) throws TensorRtException {
    check(cudart.cudaStreamSynchronize(stream), what);
  }

  /**
   * How much device memory is free, as the end of a failure's sentence: where little is, that is
   * most often the reason, which TensorRT does not always give. Empty where there is plenty, or
   * CUDA does not tell, as after a failure that ends its work on the device.
   */
  public static String littleMemory() {
    long free = freeBytes();
    return free > 0 && free < LITTLE
        ? "; only " + (free >> 20) + " MiB of device memory are free"
        : "";
  }

  /** Free bytes of the current device; 0 if CUDA does not tell. */
  public static long freeBytes() {
    try (SizeTPointer free = new SizeTPointer(1);
        SizeTPointer total = new SizeTPointer(1)) {
      return cudart.cudaMemGetInfo(free, total) == cudart.cudaSuccess ? free.get() : 0;
    }
  }

  /**
   * Memory of a device, which becomes the current one of this thread; empty if CUDA does not tell,
   * as after a failure that ends its work on the device.
   *
   * @throws LinkageError where CUDA's library is not there
   */
  public static Optional<Memory> memory(int device) {
    boolean current = cudart.cudaSetDevice(device) == cudart.cudaSuccess; // loads the library first
    try (SizeTPointer free = new SizeTPointer(1);
        SizeTPointer total = new SizeTPointer(1)) {
      if (current && cudart.cudaMemGetInfo(free, total) == cudart.cudaSuccess) {
        return Optional.of(new Memory(total.get() - free.get(), total.get()));
      }
      cudart.cudaGetLastError(); // else the next call would report it again
      return Optional.empty();
    }
  }
}
