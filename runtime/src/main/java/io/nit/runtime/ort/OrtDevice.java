package io.nit.runtime.ort;

import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.providers.OrtCUDAProviderOptions;
import io.nit.runtime.engine.EngineOptions;
import java.util.Optional;

/** What ONNX Runtime computes on. */
enum OrtDevice {
  /** The CPU. */
  CPU("ort-cpu", "CPU") {
    @Override
    void apply(OrtSession.SessionOptions settings, EngineOptions options, Memory memory)
        throws OrtException {
      settings.setCPUArenaAllocator(memory == Memory.KEPT);
    }

    @Override
    void apply(OrtSession.RunOptions run, EngineOptions options, Memory memory) {}
  },
  /**
   * An NVIDIA GPU, in true single precision. Inputs and outputs are in host memory: ONNX Runtime's
   * Java API binds no others.
   */
  CUDA("ort-cuda", "CUDA") {
    @Override
    void apply(OrtSession.SessionOptions settings, EngineOptions options, Memory memory)
        throws OrtException {
      settings.setCPUArenaAllocator(memory == Memory.KEPT);
      // Weights take their bytes and nothing of an arena's, which grows in powers of two.
      settings.addConfigEntry("session.use_device_allocator_for_initializers", "1");
      try (OrtCUDAProviderOptions cuda = new OrtCUDAProviderOptions(options.device())) {
        cuda.add("use_tf32", "0");
        // The default tries every algorithm of every convolution at every new size of picture.
        cuda.add("cudnn_conv_algo_search", "HEURISTIC");
        cuda.add(
            "arena_extend_strategy",
            memory == Memory.KEPT ? "kNextPowerOfTwo" : "kSameAsRequested");
        settings.addCUDA(cuda);
      }
    }

    @Override
    void apply(OrtSession.RunOptions run, EngineOptions options, Memory memory)
        throws OrtException {
      if (memory == Memory.RETURNED) {
        run.addRunConfigEntry("memory.enable_memory_arena_shrinkage", "gpu:" + options.device());
      }
    }
  };

  /** What becomes of the memory of a run's intermediate values. */
  enum Memory {
    /**
     * It is kept for the next run. It grows in powers of two up to 1 GiB at once: packs of any size
     * are cut from the same few pieces, where pieces of exactly what one pack needs would not hold
     * the next one's and pile up.
     */
    KEPT,
    /**
     * It goes back to the system when a run ends: that of a large picture is gigabytes, which
     * others need before the next such picture comes.
     */
    RETURNED
  }

  private final String backend;
  private final String words;

  OrtDevice(String backend, String words) {
    this.backend = backend;
    this.words = words;
  }

  /** Makes a session compute there. */
  abstract void apply(OrtSession.SessionOptions settings, EngineOptions options, Memory memory)
      throws OrtException;

  /** Makes a run of such a session do with its memory as the session was told. */
  abstract void apply(OrtSession.RunOptions run, EngineOptions options, Memory memory)
      throws OrtException;

  /** The backend's name. */
  String backend() {
    return backend;
  }

  /** Whether it is a GPU. */
  boolean isGpu() {
    return this == CUDA;
  }

  /** What runs a model, for logs and reports. */
  String describe(EngineOptions options) {
    String threads = options.threads() > 0 ? options.threads() + " threads" : "all cores";
    return "ONNX Runtime "
        + OrtNative.environment().getVersion()
        + ", "
        + words
        + (isGpu() ? ", device " + options.device() : ", " + threads);
  }

  /** Why models cannot run there, or empty if they can; loads none of a bundle. */
  Optional<String> refusal(EngineOptions options) {
    Optional<String> library = OrtNative.refusal();
    if (library.isPresent() || !isGpu()) {
      return library;
    }
    return CudaProbe.refusal(options);
  }
}
