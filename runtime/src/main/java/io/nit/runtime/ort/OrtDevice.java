package io.nit.runtime.ort;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtProvider;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.providers.OrtCUDAProviderOptions;
import io.nit.runtime.engine.EngineOptions;
import java.util.Optional;

/** What ONNX Runtime computes on. */
enum OrtDevice {
  /** The CPU. */
  CPU("ort-cpu", "CPU") {
    @Override
    void apply(OrtSession.SessionOptions settings, EngineOptions options) {}
  },
  /**
   * An NVIDIA GPU, in true single precision. Operators without a kernel there, such as the
   * attention's loop over images, are run from the CPU.
   */
  CUDA("ort-cuda", "CUDA") {
    @Override
    void apply(OrtSession.SessionOptions settings, EngineOptions options) throws OrtException {
      try (OrtCUDAProviderOptions cuda = new OrtCUDAProviderOptions(options.device())) {
        cuda.add("use_tf32", "0");
        settings.addCUDA(cuda);
      }
    }
  };

  private final String backend;
  private final String words;

  OrtDevice(String backend, String words) {
    this.backend = backend;
    this.words = words;
  }

  /** Makes a session compute there. */
  abstract void apply(OrtSession.SessionOptions settings, EngineOptions options)
      throws OrtException;

  /** The backend's name. */
  String backend() {
    return backend;
  }

  /** What runs a model, for logs and reports. */
  String describe(EngineOptions options) {
    String threads = options.threads() > 0 ? options.threads() + " threads" : "all cores";
    return "ONNX Runtime "
        + OrtNative.environment().getVersion()
        + ", "
        + words
        + (this == CPU ? ", " + threads : ", device " + options.device());
  }

  /** Why models cannot run there, or empty if they can; loads no model. */
  Optional<String> refusal(EngineOptions options) {
    Optional<String> library = OrtNative.refusal();
    if (library.isPresent() || this == CPU) {
      return library;
    }
    if (!OrtEnvironment.getAvailableProviders().contains(OrtProvider.CUDA)) {
      return Optional.of(
          "this ONNX Runtime has no CUDA (com.microsoft.onnxruntime:onnxruntime_gpu has; a build"
              + " with -Pgpu brings it)");
    }
    try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions()) {
      apply(settings, options);
      return Optional.empty();
    } catch (OrtException | LinkageError e) {
      return Optional.of("ONNX Runtime does not start CUDA: " + e.getMessage());
    }
  }
}
