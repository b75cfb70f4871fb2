package io.nit.core.trt;

import java.util.Optional;
import org.bytedeco.javacpp.Loader;
import org.bytedeco.tensorrt.global.nvinfer;
import org.bytedeco.tensorrt.global.nvonnxparser;

/** Whether TensorRT can be used here. */
public final class TensorRt {
  /** What has to be on the class path, for messages. */
  public static final String JARS =
      "org.bytedeco:tensorrt:10.6-1.5.11 and org.bytedeco:cuda:12.6-9.5-1.5.11, each with its"
          + " linux-x86_64 and linux-x86_64-redist jars (a build with -Pgpu has them)";

  private TensorRt() {}

  /**
   * Why TensorRT cannot be used, or empty if it can. Loads the libraries on the first call and asks
   * for the device.
   *
   * @param device the GPU's number
   * @return a sentence that names what was looked for and what was found
   */
  public static Optional<String> refusal(int device) {
    Optional<String> missing = missing();
    if (missing.isPresent()) {
      return missing;
    }
    try {
      Gpu.open(device);
      return Optional.empty();
    } catch (TensorRtException e) {
      return Optional.of(e.getMessage());
    }
  }

  /** Why the libraries cannot be loaded, or empty if they are. */
  private static synchronized Optional<String> missing() {
    // An engine's weights are mapped and copied in native memory: JavaCPP's guess from the heap's
    // size would refuse them.
    for (String limit : new String[] {"maxbytes", "maxphysicalbytes"}) {
      String name = "org.bytedeco.javacpp." + limit;
      if (System.getProperty(name) == null) {
        System.setProperty(name, "0");
      }
    }
    try {
      Natives.load();
      return Optional.empty();
    } catch (LinkageError e) {
      return Optional.of("expected " + JARS + "; found: " + cause(e));
    }
  }

  private static String cause(Throwable e) {
    Throwable last = e;
    while (last.getCause() != null && last.getCause() != last) {
      last = last.getCause();
    }
    return last.toString();
  }

  /**
   * The version of the library that is loaded, for example 10.6.0.
   *
   * @throws LinkageError if there is none; ask {@link #refusal} first
   */
  public static String version() {
    return Natives.version();
  }

  /** A class of its own, so that {@link TensorRt} loads where the bindings are missing. */
  private static final class Natives {
    static void load() {
      Loader.load(nvinfer.class);
      Loader.load(nvonnxparser.class);
    }

    static String version() {
      return nvinfer.getInferLibMajorVersion()
          + "."
          + nvinfer.getInferLibMinorVersion()
          + "."
          + nvinfer.getInferLibPatchVersion();
    }
  }
}
