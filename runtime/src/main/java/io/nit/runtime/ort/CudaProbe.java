package io.nit.runtime.ort;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtLoggingLevel;
import ai.onnxruntime.OrtProvider;
import ai.onnxruntime.OrtSession;
import io.nit.core.trt.CudaLibraries;
import io.nit.runtime.engine.EngineOptions;
import java.nio.FloatBuffer;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ConcurrentHashMap;

/**
 * Finds out whether ONNX Runtime computes on a GPU, by a model of three nodes that needs what ours
 * need: a convolution (cuDNN), a product (cuBLAS) and a mean. ONNX Runtime itself only finds a
 * missing library, driver or device when a session starts, and cuDNN when a node needs it, which
 * would be in the first picture.
 */
final class CudaProbe {
  private static final int SIDE = 8;
  private static final int IR_VERSION = 8;
  private static final int OPSET = 18;

  /** Answers by device: a second or two each, and they do not change while a process lives. */
  private static final Map<Integer, Optional<String>> ANSWERS = new ConcurrentHashMap<>();

  private CudaProbe() {}

  /** Why models cannot run on the device that the options name, or empty if they can. */
  static Optional<String> refusal(EngineOptions options) {
    if (!OrtEnvironment.getAvailableProviders().contains(OrtProvider.CUDA)) {
      return Optional.of(
          "this ONNX Runtime has no CUDA (com.microsoft.onnxruntime:onnxruntime_gpu has; a build"
              + " with -Pgpu brings it, and so does a folder with its libraries on the library"
              + " path)");
    }
    return ANSWERS.computeIfAbsent(options.device(), device -> tried(options));
  }

  private static Optional<String> tried(EngineOptions options) {
    loadLibraries();
    try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions()) {
      settings.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
      OrtDevice.CUDA.apply(settings, options, OrtDevice.Memory.RETURNED);
      run(settings);
      return Optional.empty();
    } catch (OrtException | LinkageError e) {
      return Optional.of(
          "ONNX Runtime does not compute on CUDA device "
              + options.device()
              + ": expected that device, its driver, and CUDA 12 (libcudart.so.12, libcublas.so.12,"
              + " libcublasLt.so.12, libcurand.so.10, libcufft.so.11) and cuDNN 9 (libcudnn*.so.9)"
              + " on the library path or from -Pgpu's jars; found: "
              + OrtSessions.reason(e));
    }
  }

  private static void loadLibraries() {
    try {
      CudaLibraries.load();
    } catch (LinkageError e) {
      // JavaCPP is not on the class path: the library path has them.
    }
  }

  private static void run(OrtSession.SessionOptions settings) throws OrtException {
    OrtEnvironment environment = OrtNative.environment();
    long[] shape = {1, 1, SIDE, SIDE};
    FloatBuffer x = FloatBuffer.allocate(SIDE * SIDE);
    try (OrtSession session = environment.createSession(model(), settings);
        OnnxTensor in = OnnxTensor.createTensor(environment, x, shape)) {
      session.run(Map.of("x", in)).close();
    }
  }

  /** {@code mean(c·c)} of {@code c = conv(x)}, with a kernel of one weight. */
  static byte[] model() {
    OnnxMessage graph = new OnnxMessage();
    graph.message(1, OnnxMessage.node("", "Conv", List.of("x", "w"), List.of("c")));
    graph.message(1, OnnxMessage.node("", "MatMul", List.of("c", "c"), List.of("cc")));
    graph.message(1, OnnxMessage.node("", "ReduceMean", List.of("cc", "axis"), List.of("m")));
    graph.text(2, "probe");
    graph.message(5, OnnxMessage.tensor("w", OnnxMessage.FLOAT, OnnxMessage.little(1), 1, 1, 1, 1));
    byte[] axis = new byte[Long.BYTES];
    axis[0] = 3;
    graph.message(5, OnnxMessage.tensor("axis", OnnxMessage.INT64, axis, 1));
    graph.message(11, OnnxMessage.value("x", OnnxMessage.FLOAT, 1, 1, SIDE, SIDE));
    graph.message(12, OnnxMessage.value("m", OnnxMessage.FLOAT, 1, 1, SIDE, 1));
    return OnnxMessage.model(graph, IR_VERSION, OPSET).toBytes();
  }
}
