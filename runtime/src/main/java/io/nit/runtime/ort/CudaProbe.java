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
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Supplier;
import java.util.regex.Pattern;

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

  /** Errors that stay while a process lives: of libraries, the driver, and which devices it has. */
  private static final Pattern LASTING =
      Pattern.compile(
          "Failed to load|cannot open shared object|undefined symbol|version mismatch"
              + "|driver version is insufficient|no CUDA-capable device|invalid device ordinal"
              + "|no kernel image|stub library");

  private static final Answers ANSWERS = new Answers();

  /**
   * What a try of a device came to.
   *
   * @param refusal why it does not compute, or empty if it does
   * @param lasts whether another try would come to the same
   */
  record Answer(Optional<String> refusal, boolean lasts) {}

  /** Answers by device, a second or two each, kept as far as they last. */
  static final class Answers {
    private final Map<Integer, Optional<String>> kept = new HashMap<>(); // guarded by this

    /** The answer that is kept, or that of a try. */
    synchronized Optional<String> of(int device, Supplier<Answer> trial) {
      Optional<String> known = kept.get(device);
      if (known != null) {
        return known;
      }
      Answer answer = trial.get();
      if (answer.lasts) {
        kept.put(device, answer.refusal);
      }
      return answer.refusal;
    }
  }

  private CudaProbe() {}

  /** Why models cannot run on the device that the options name, or empty if they can. */
  static Optional<String> refusal(EngineOptions options) {
    if (!OrtEnvironment.getAvailableProviders().contains(OrtProvider.CUDA)) {
      return Optional.of(
          "this ONNX Runtime has no CUDA; a build with -Pgpu (onnxruntime_gpu) has, or its libraries"
              + " in a folder of LD_LIBRARY_PATH");
    }
    return ANSWERS.of(options.device(), () -> tried(options));
  }

  /** Whether a failure would come again: not where the device's memory was full at the moment. */
  static boolean lasts(Throwable failure) {
    return failure instanceof LinkageError
        || LASTING.matcher(String.valueOf(failure.getMessage())).find();
  }

  private static Answer tried(EngineOptions options) {
    loadLibraries();
    try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions()) {
      settings.setSessionLogLevel(OrtLoggingLevel.ORT_LOGGING_LEVEL_FATAL);
      OrtDevice.CUDA.apply(settings, options, OrtDevice.Memory.RETURNED);
      run(settings);
      return new Answer(Optional.empty(), true);
    } catch (OrtException | LinkageError e) {
      String refusal =
          "ONNX Runtime does not compute on CUDA device "
              + options.device()
              + ": expected that device, its driver, and CUDA 12 (libcudart.so.12, libcublas.so.12,"
              + " libcublasLt.so.12, libcurand.so.10, libcufft.so.11) and cuDNN 9 (libcudnn*.so.9)"
              + " on the library path or from -Pgpu's jars; found: "
              + OrtSessions.reason(e);
      return new Answer(Optional.of(refusal), lasts(e));
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
