package io.nit.core.trt;

import java.lang.reflect.Method;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.nvinfer.IHostMemory;
import org.bytedeco.tensorrt.nvinfer.INoCopy;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes objects that TensorRT hands out freeable with {@link Pointer#close}. C++ deletes them
 * through their virtual destructor, which the bindings give to objects made with {@code new} only;
 * what those use is borrowed here. The parser has no such base and stays until the process ends.
 */
public final class NativeOwners {
  private static final Logger LOG = LoggerFactory.getLogger(NativeOwners.class);

  /** No object lies in the first page. */
  private static final long FIRST_PAGE = 4096;

  /** An empty object of the common base, for its deleting function. */
  private static final class Probe extends IHostMemory {
    long deletingFunction() {
      return deallocator() instanceof NativeDeallocator known ? known.deallocatorAddress() : 0;
    }
  }

  private NativeOwners() {}

  /**
   * Lets an object be closed.
   *
   * @return {@code object}, or null if it is none: where it cannot make one, TensorRT returns null,
   *     and in places null moved by the offset of a base class
   */
  public static <P extends INoCopy> P owned(P object) {
    if (object == null || object.address() < FIRST_PAGE) {
      return null;
    }
    try (Probe probe = new Probe()) {
      Method init =
          Pointer.class.getDeclaredMethod("init", long.class, long.class, long.class, long.class);
      init.setAccessible(true);
      long address = object.address();
      init.invoke(object, address, 1L, address, probe.deletingFunction());
    } catch (ReflectiveOperationException | RuntimeException e) {
      LOG.warn(
          "{} will not be freed before the process ends: {}",
          object.getClass().getSimpleName(),
          e.toString());
    }
    return object;
  }

  /** Frees an object; null is fine. */
  public static void close(Pointer object) {
    if (object != null && !object.isNull()) {
      object.close();
      object.setNull();
    }
  }
}
