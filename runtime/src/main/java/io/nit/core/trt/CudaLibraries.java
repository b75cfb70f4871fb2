package io.nit.core.trt;

import java.util.List;
import org.bytedeco.javacpp.Loader;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Loads NVIDIA's libraries from the jars on the class path, for native code that asks for them by
 * name alone, as ONNX Runtime's does: what a process has loaded is found by its name, and JavaCPP's
 * jars lie in no folder of the library path.
 */
public final class CudaLibraries {
  private static final Logger LOG = LoggerFactory.getLogger(CudaLibraries.class);

  /** In the order in which they need each other. */
  private static final List<String> BINDINGS =
      List.of("cudart", "nvrtc", "cublas", "cufft", "curand", "cudnn");

  private CudaLibraries() {}

  /** Loads those that are there; the rest is left to the library path. */
  public static synchronized void load() {
    for (String binding : BINDINGS) {
      try {
        Loader.load(Class.forName("org.bytedeco.cuda.global." + binding));
      } catch (ClassNotFoundException | LinkageError e) {
        LOG.debug("{} is left to the library path: {}", binding, e.toString());
      }
    }
  }
}
