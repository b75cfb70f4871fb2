package io.nit.exporter.trt;

import io.nit.core.cuda.PluginLibrary;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.trt.NativeOwners;
import io.nit.core.trt.PlanFile;
import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtLogger;
import io.nit.core.trt.TensorRtPlan;
import io.nit.exporter.onnx.OnnxFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.StringJoiner;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.IntPointer;
import org.bytedeco.javacpp.PointerPointer;
import org.bytedeco.tensorrt.global.nvinfer;
import org.bytedeco.tensorrt.nvinfer.ICudaEngine;
import org.bytedeco.tensorrt.nvinfer.IHostMemory;
import org.bytedeco.tensorrt.nvinfer.IRefitter;
import org.bytedeco.tensorrt.nvinfer.ISerializationConfig;
import org.bytedeco.tensorrt.nvinfer.Weights;

/**
 * Puts the weights of a checkpoint into an engine that was built for it, in seconds and without a
 * build: into a plan without weights, or in the place of others. All weights are exchanged or the
 * engine is refused, so that none is ever a mixture of two checkpoints.
 */
public final class EngineRefitter {
  private static final int MOST_THREADS = 16;
  private static final int SHOWN = 5;

  private EngineRefitter() {}

  /**
   * What became of an engine.
   *
   * @param bytes size of the plan with its weights
   * @param refittable whether its weights can be exchanged again
   * @param weights how many were put in
   * @param seconds time for all of it, reading and writing the plans included
   */
  public record Refitted(long bytes, boolean refittable, int weights, double seconds) {}

  /**
   * Refits.
   *
   * @param plan a file of plans whose weights can be exchanged
   * @param plugins the library of the plugins that they hold, if they hold any
   * @param device the GPU's number
   * @param hostCode whether the plans may bring a runtime of their own, see {@link
   *     TensorRtPlan#open}
   * @param model the new weights as the engine's builder would be given them
   * @param target the file of plans to write; files beside it are made and removed again
   * @throws TensorRtException if TensorRT does not take a plan, its weights cannot be exchanged, or
   *     the model's weights are not all of its weights; names those that are not
   * @throws IOException if a file cannot be read or written
   */
  public static Refitted refit(
      Path plan,
      Optional<PluginLibrary> plugins,
      int device,
      boolean hostCode,
      TrtNetwork model,
      Path target)
      throws IOException, TensorRtException {
    long start = System.nanoTime();
    PlanFile source = PlanFile.read(plan);
    List<OnnxFile> files = model.files();
    if (source.parts().size() != files.size()) {
      throw new TensorRtException(
          plan
              + ": expected "
              + files.size()
              + " plans for a model in "
              + model.precision()
              + ", found "
              + source.parts().size());
    }
    List<Path> made = new ArrayList<>();
    try {
      int count = 0;
      for (int part = 0; part < files.size(); part++) {
        made.add(target.resolveSibling(target.getFileName() + "-" + part + ".tmp"));
        Optional<PluginLibrary> needed = model.plugins(part).isEmpty() ? Optional.empty() : plugins;
        try (TensorRtPlan opened = TensorRtPlan.open(source, part, needed, device, hostCode);
            OnnxWeights weights = OnnxWeights.open(files.get(part).model())) {
          count += refit(opened, weights, made.get(part));
        }
      }
      PlanFile written = PlanFile.join(made, target);
      boolean again;
      try (TensorRtPlan opened = TensorRtPlan.open(written, 0, plugins, device, hostCode)) {
        again = opened.engine().isRefittable();
      }
      return new Refitted(Files.size(target), again, count, (System.nanoTime() - start) / 1e9);
    } finally {
      for (Path file : made) {
        Files.deleteIfExists(file);
      }
    }
  }

  private static int refit(TensorRtPlan plan, TensorSource weights, Path target)
      throws IOException, TensorRtException {
    ICudaEngine engine = plan.engine();
    // isRefittable() is not asked: it was false of a plan without weights whose weights had been
    // marked. A plan with fixed weights refuses the first of them.
    TensorRtLogger logger = TensorRtLogger.shared();
    int count = exchange(engine, weights, logger);
    serialize(engine, target, logger);
    return count;
  }

  private static int exchange(ICudaEngine engine, TensorSource weights, TensorRtLogger logger)
      throws IOException, TensorRtException {
    logger.begin();
    IRefitter refitter = NativeOwners.owned(nvinfer.createInferRefitter(engine, logger));
    if (refitter == null) {
      throw new TensorRtException("TensorRT gives no refitter: " + logger.errors());
    }
    // TensorRT reads the values when it refits, so that all stay mapped until then.
    List<BytePointer> values = new ArrayList<>();
    try {
      refitter.setMaxThreads(Math.min(MOST_THREADS, Runtime.getRuntime().availableProcessors()));
      for (String name : weights.specs().keySet()) {
        HostTensor tensor = weights.tensor(name);
        BytePointer memory = new BytePointer(tensor.bytes());
        values.add(memory);
        try (Weights given = new Weights()) {
          given.type(type(tensor.dtype())).values(memory).count(tensor.shape().elements());
          if (!refitter.setNamedWeights(name, given)) {
            throw new TensorRtException(
                name
                    + " "
                    + tensor.dtype()
                    + " "
                    + tensor.shape()
                    + ": expected a weight of the engine, TensorRT refused: "
                    + logger.errors());
          }
        }
      }
      requireAll(refitter);
      if (!refitter.refitCudaEngine()) {
        throw new TensorRtException("refit of an engine: " + logger.errors());
      }
      return values.size();
    } finally {
      values.forEach(BytePointer::close);
      NativeOwners.close(refitter);
    }
  }

  private static void requireAll(IRefitter refitter) throws TensorRtException {
    int missing = refitter.getMissingWeights(0, (PointerPointer<?>) null);
    int unnamed = refitter.getMissing(0, (PointerPointer<?>) null, (IntPointer) null);
    if (missing == 0 && unnamed == 0) {
      return;
    }
    StringJoiner names = new StringJoiner(", ");
    int shown = Math.min(SHOWN, missing);
    try (PointerPointer<BytePointer> found = new PointerPointer<>(Math.max(1, shown))) {
      refitter.getMissingWeights(shown, found);
      for (int i = 0; i < shown; i++) {
        names.add(found.get(BytePointer.class, i).getString());
      }
    }
    throw new TensorRtException(
        "the checkpoint lacks "
            + Math.max(missing, unnamed)
            + " weights of the engine: "
            + names
            + (missing > shown ? ", ..." : ""));
  }

  private static void serialize(ICudaEngine engine, Path target, TensorRtLogger logger)
      throws IOException, TensorRtException {
    ISerializationConfig config = NativeOwners.owned(engine.createSerializationConfig());
    IHostMemory bytes = null;
    try {
      if (config == null) {
        throw new TensorRtException("TensorRT cannot write the engine: " + logger.errors());
      }
      config.clearFlag(nvinfer.SerializationFlag.kEXCLUDE_WEIGHTS);
      bytes = NativeOwners.owned(engine.serializeWithConfig(config));
      if (bytes == null) {
        throw new TensorRtException("TensorRT does not write the engine: " + logger.errors());
      }
      EngineBuilder.write(bytes, target);
    } finally {
      NativeOwners.close(bytes);
      NativeOwners.close(config);
    }
  }

  private static nvinfer.DataType type(DType type) throws TensorRtException {
    return switch (type) {
      case F32 -> nvinfer.DataType.kFLOAT;
      case F16 -> nvinfer.DataType.kHALF;
      case BF16 -> nvinfer.DataType.kBF16;
      default -> throw new TensorRtException("expected weights of F32, F16 or BF16, found " + type);
    };
  }
}
