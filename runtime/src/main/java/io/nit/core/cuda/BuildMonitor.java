package io.nit.core.cuda;

import java.io.IOException;

/**
 * How far TensorRT is with a build. TensorRT wants an object of C++ for that, which {@code
 * libnit_plugins.so} has; a builder takes it by its {@link #address}. Any thread may ask.
 *
 * <p>TensorRT tells phases with a number of steps each, and phases inside a step; they do not take
 * equally long, so that a share of the steps is no share of the time.
 */
public final class BuildMonitor implements AutoCloseable {
  private long address;

  private BuildMonitor(long address) {
    this.address = address;
  }

  /**
   * A monitor of the library that {@link NitKernels#load} finds.
   *
   * @return the monitor, which the caller closes after the builder's config that was given it
   * @throws IOException if there is no library, it cannot be loaded, or it is an older one
   */
  public static BuildMonitor open() throws IOException {
    PluginLibrary library = NitKernels.load().library();
    try {
      long made = create();
      if (made == 0) {
        throw new OutOfMemoryError("no memory for a monitor of builds");
      }
      return new BuildMonitor(made);
    } catch (UnsatisfiedLinkError e) {
      throw new IOException(library + ": expected a monitor of builds, found none", e);
    }
  }

  /**
   * Where the C++ object lies, an {@code nvinfer1::IProgressMonitor}; valid until {@link #close}.
   *
   * @throws IllegalStateException after {@link #close}
   */
  public synchronized long address() {
    if (address == 0) {
      throw new IllegalStateException("this monitor is closed");
    }
    return address;
  }

  /**
   * The share of the steps that are done, 0 to 1, of the outermost phase that runs; below 0 where
   * none runs, and after {@link #close}.
   */
  public synchronized double share() {
    return address == 0 ? -1 : share(address);
  }

  /**
   * The phases that run, in TensorRT's words and in the order that they started, so that those
   * inside a phase stand behind it, with {@code " > "} between; empty where none runs, and after
   * {@link #close}.
   */
  public synchronized String phases() {
    return address == 0 ? "" : phases(address);
  }

  /** Frees the object, which no build may use any more. */
  @Override
  public synchronized void close() {
    long last = address;
    address = 0;
    if (last != 0) {
      destroy(last);
    }
  }

  private static native long create();

  private static native void destroy(long address);

  private static native double share(long address);

  private static native String phases(long address);
}
