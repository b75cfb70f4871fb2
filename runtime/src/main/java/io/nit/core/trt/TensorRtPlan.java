package io.nit.core.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.cuda.PluginLibrary;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashSet;
import java.util.Optional;
import java.util.Set;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.global.nvinfer;
import org.bytedeco.tensorrt.nvinfer.Dims64;
import org.bytedeco.tensorrt.nvinfer.ICudaEngine;
import org.bytedeco.tensorrt.nvinfer.IEngineInspector;
import org.bytedeco.tensorrt.nvinfer.IExecutionContext;

/**
 * A plan opened as an engine, with its weights on the device. Safe to close twice; execution
 * contexts are closed by whoever made them, before this.
 */
public final class TensorRtPlan implements AutoCloseable {
  private static final int CHUNK = 1 << 28;

  private final Path file;
  private final PlanFile.Part part;
  private final PlanRuntime runtime;
  private final boolean ownsRuntime;
  private ICudaEngine engine;

  private TensorRtPlan(Path file, PlanFile.Part part, PlanRuntime runtime, boolean ownsRuntime) {
    this.file = file;
    this.part = part;
    this.runtime = runtime;
    this.ownsRuntime = ownsRuntime;
  }

  /**
   * Opens the first plan of a file.
   *
   * @param plugins the library of the plugins that the plan holds, if it holds any
   * @param device the GPU's number
   * @return the plan, which the caller closes
   * @throws NoSuchFileException if there is no such file
   * @throws IOException if it or its manifest cannot be read
   * @throws TensorRtException if there is no GPU or TensorRT does not take the library or the plan
   */
  public static TensorRtPlan open(Path file, Optional<PluginLibrary> plugins, int device)
      throws IOException, TensorRtException {
    return open(PlanFile.read(file), 0, plugins, device);
  }

  /**
   * Opens a plan of a file. One that its manifest calls version-compatible may bring its own
   * runtime.
   *
   * @param part which of the file's plans
   * @param plugins the library of the plugins that the plan holds, if it holds any
   * @param device the GPU's number
   * @return the plan, which the caller closes
   * @throws IOException if it or its manifest cannot be read
   * @throws TensorRtException if there is no GPU or TensorRT does not take the library or the plan
   */
  public static TensorRtPlan open(
      PlanFile file, int part, Optional<PluginLibrary> plugins, int device)
      throws IOException, TensorRtException {
    return open(file, part, plugins, device, bringsRuntime(file.file()));
  }

  /** Whether a file's manifest, where it has one, calls it version-compatible. */
  static boolean bringsRuntime(Path file) throws IOException {
    return Files.isRegularFile(EngineManifest.fileOf(file))
        && EngineManifest.read(file).traits().versionCompatible();
  }

  /**
   * Opens a plan of a file that may have no manifest.
   *
   * @param part which of the file's plans
   * @param plugins the library of the plugins that the plan holds, if it holds any
   * @param device the GPU's number
   * @param hostCode whether TensorRT may run the lean runtime that a version-compatible plan holds,
   *     which is code of the machine that built it
   * @return the plan, which the caller closes
   * @throws IOException if it cannot be read
   * @throws TensorRtException if there is no GPU or TensorRT does not take the library or the plan
   */
  public static TensorRtPlan open(
      PlanFile file, int part, Optional<PluginLibrary> plugins, int device, boolean hostCode)
      throws IOException, TensorRtException {
    return load(
        new TensorRtPlan(
            file.file(),
            file.parts().get(part),
            PlanRuntime.open(plugins, device, hostCode),
            true));
  }

  /** Opens a plan on a runtime that stays its owner's. */
  static TensorRtPlan on(PlanRuntime runtime, PlanFile file, int part)
      throws IOException, TensorRtException {
    return load(new TensorRtPlan(file.file(), file.parts().get(part), runtime, false));
  }

  private static TensorRtPlan load(TensorRtPlan plan) throws IOException, TensorRtException {
    try {
      plan.load();
      return plan;
    } catch (IOException | TensorRtException | RuntimeException | Error e) {
      plan.close();
      throw e;
    }
  }

  /** Refuses a GPU that the plugins hold no code for. */
  public static void requireArchitecture(PluginLibrary plugins, Gpu gpu) throws TensorRtException {
    try {
      plugins.requireArchitecture(gpu.major(), gpu.minor());
    } catch (IllegalStateException e) {
      throw new TensorRtException(e.getMessage(), e);
    }
  }

  private void load() throws IOException, TensorRtException {
    long bytes = part.bytes();
    Pointer memory = Pointer.malloc(Math.max(1, bytes));
    if (memory == null || memory.isNull()) {
      throw new TensorRtException(file + ": no host memory for its " + bytes + " bytes");
    }
    try {
      read(memory, bytes);
      TensorRtLogger.shared().begin();
      engine = runtime.engine(memory, bytes);
    } finally {
      Pointer.free(memory);
    }
    if (engine == null) {
      throw new PlanNotTakenException(
          file
              + " ("
              + bytes
              + " bytes): TensorRT "
              + TensorRt.version()
              + " does not take this plan on "
              + runtime.gpu()
              + ": "
              + TensorRtLogger.shared().errors()
              + Cuda.littleMemory());
    }
  }

  private void read(Pointer memory, long bytes) throws IOException {
    try (FileChannel in = FileChannel.open(file).position(part.offset())) {
      for (long at = 0; at < bytes; at += CHUNK) {
        ByteBuffer chunk = HostMemory.chunk(memory, at, Math.min(CHUNK, bytes - at));
        while (chunk.hasRemaining()) {
          if (in.read(chunk) < 0) {
            throw new IOException(file + ": expected " + bytes + " bytes, found an end before");
          }
        }
      }
    }
  }

  /** The plan's file. */
  public Path file() {
    return file;
  }

  /** The GPU that it was opened on. */
  public Gpu gpu() {
    return runtime.gpu();
  }

  /** The engine, which belongs to this plan. */
  public ICudaEngine engine() {
    if (engine == null) {
      throw new IllegalStateException("TensorRtPlan: used after close");
    }
    return engine;
  }

  /** How many optimization profiles there are. */
  public int profiles() {
    return engine().getNbOptimizationProfiles();
  }

  /** The largest first extent of an input in a profile. */
  public int largest(String input, int profile) throws TensorRtException {
    return (int) largestShape(input, profile)[0];
  }

  /** The largest extents of an input in a profile. */
  public long[] largestShape(String input, int profile) throws TensorRtException {
    Optional<long[]> shape = shape(input);
    if (shape.isPresent() && Arrays.stream(shape.get()).allMatch(extent -> extent >= 0)) {
      return shape.get(); // the same in every profile
    }
    try (Dims64 dims = engine().getProfileShape(input, profile, nvinfer.OptProfileSelector.kMAX)) {
      if (dims == null || dims.isNull() || dims.nbDims() < 1) {
        throw new TensorRtException(file + ": expected an input " + input + ", found none");
      }
      return extents(dims);
    }
  }

  /** The extents of an input or output, -1 where dynamic; empty if there is none of that name. */
  public Optional<long[]> shape(String tensor) {
    try (Dims64 dims = engine().getTensorShape(tensor)) {
      if (dims == null || dims.isNull() || dims.nbDims() < 0) {
        return Optional.empty();
      }
      return Optional.of(extents(dims));
    }
  }

  /** Type of an input's or output's values, as {@code DType} calls it; empty for other types. */
  public Optional<String> type(String tensor) {
    return switch (engine().getTensorDataType(tensor).intern()) {
      case kFLOAT -> Optional.of("F32");
      case kHALF -> Optional.of("F16");
      case kBF16 -> Optional.of("BF16");
      default -> Optional.empty();
    };
  }

  private static long[] extents(Dims64 dims) {
    long[] shape = new long[dims.nbDims()];
    for (int i = 0; i < shape.length; i++) {
      shape[i] = dims.d(i);
    }
    return shape;
  }

  /** The names of all inputs and outputs. */
  public Set<String> tensors() {
    Set<String> names = new LinkedHashSet<>();
    for (int i = 0; i < engine().getNbIOTensors(); i++) {
      names.add(engine().getIOTensorName(i));
    }
    return names;
  }

  /** The layers, as the inspector tells them. */
  public PlanLayers layers() throws TensorRtException {
    IEngineInspector inspector = NativeOwners.owned(engine().createEngineInspector());
    if (inspector == null) {
      throw new TensorRtException(
          "TensorRT gives no inspector: " + TensorRtLogger.shared().errors());
    }
    try {
      return PlanLayers.parse(inspector.getEngineInformation(nvinfer.LayerInformationFormat.kJSON));
    } finally {
      NativeOwners.close(inspector);
    }
  }

  /**
   * An execution context whose activations lie in memory that its user brings.
   *
   * @return the context; close it with {@link #close(IExecutionContext)}
   * @throws TensorRtException if there is no memory for it
   */
  public IExecutionContext context() throws TensorRtException {
    return context(nvinfer.ExecutionContextAllocationStrategy.kUSER_MANAGED);
  }

  /**
   * An execution context with memory of its own for activations.
   *
   * @return the context; close it with {@link #close(IExecutionContext)}
   * @throws TensorRtException if there is no memory for it
   */
  public IExecutionContext contextWithMemory() throws TensorRtException {
    return context(nvinfer.ExecutionContextAllocationStrategy.kSTATIC);
  }

  private IExecutionContext context(nvinfer.ExecutionContextAllocationStrategy memory)
      throws TensorRtException {
    IExecutionContext context = NativeOwners.owned(engine().createExecutionContext(memory));
    if (context == null) {
      throw new TensorRtException(
          file + ": no execution context: " + TensorRtLogger.shared().errors());
    }
    return context;
  }

  /** Frees a context; null is fine. */
  public static void close(IExecutionContext context) {
    NativeOwners.close(context);
  }

  @Override
  public void close() {
    NativeOwners.close(engine);
    engine = null;
    if (ownsRuntime) {
      runtime.close();
    }
  }
}
