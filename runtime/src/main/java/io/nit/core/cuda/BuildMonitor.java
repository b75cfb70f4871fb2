package io.nit.core.cuda;

import java.io.IOException;
import java.util.Optional;

/**
 * How far TensorRT is with a build. TensorRT wants an object of C++ for that, which {@code
 * libnit_plugins.so} has; a builder takes it by its {@link #address}. Any thread may ask.
 *
 * <p>TensorRT tells phases with a number of steps each. Nearly all of the time goes into one of
 * them, which times the kernels of every layer and comes once for each optimization profile.
 */
public final class BuildMonitor implements AutoCloseable {
  private long address;

  /**
   * What is timed of the build that runs.
   *
   * @param profiles optimization profiles whose layers are all timed
   * @param profilesTook seconds, those profiles together
   * @param layers share of the layers of the profile after them that are timed, 0 to 1; empty where
   *     none is being timed
   * @param seconds since that profile began; 0 where none is being timed
   */
  public record Timing(
      int profiles, double profilesTook, Optional<Double> layers, double seconds) {}

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
   * How far the timing of kernels is; empty where no profile of the build has begun, and after
   * {@link #close}.
   */
  public synchronized Optional<Timing> timing() {
    if (address == 0) {
      return Optional.empty();
    }
    double[] fields = timing(address);
    Optional<Double> layers = fields[2] < 0 ? Optional.empty() : Optional.of(fields[2]);
    return fields[0] == 0 && layers.isEmpty()
        ? Optional.empty()
        : Optional.of(new Timing((int) fields[0], fields[1], layers, fields[3]));
  }

  /**
   * The innermost phase that runs, in TensorRT's words; empty where none runs, and after {@link
   * #close}.
   */
  public synchronized String phase() {
    return address == 0 ? "" : phase(address);
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

  private static native double[] timing(long address);

  private static native String phase(long address);
}
