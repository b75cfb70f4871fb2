package io.nit.runtime.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.RopeTables;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRt;
import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtLogger;
import io.nit.core.trt.TensorRtPlan;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.nvinfer.Dims64;
import org.bytedeco.tensorrt.nvinfer.IExecutionContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A NiT model in TensorRT. Every profile of the plan is a bucket of tokens; a pack runs in the
 * smallest that holds it. Inputs and the output keep their place on the device from call to call,
 * what only depends on the pack's layout is copied when it changes, and a shape that comes again is
 * replayed as a CUDA graph. All memory is taken when the engine is opened. Calls from several
 * threads run one after the other, on a stream of the engine's own.
 */
public final class TensorRtEngine implements VelocityEngine {
  /** The backend's name. */
  public static final String NAME = "tensorrt";

  private static final Logger LOG = LoggerFactory.getLogger(TensorRtEngine.class);
  private static final int MOST_GRAPHS = 32;

  /**
   * How a plan is run.
   *
   * @param device the GPU's number
   * @param cudaGraphs whether shapes that come again are replayed as CUDA graphs
   */
  public record Options(int device, boolean cudaGraphs) {
    /** The first GPU, with graphs. */
    public static final Options DEFAULT = new Options(0, true);
  }

  /** A profile of the plan: the most it holds, and its context. */
  private record Bucket(int profile, int tokens, int images, IExecutionContext context) {}

  private record Shape(int tokens, int images) {}

  /**
   * A recorded forward. It holds for the state of the context that it was recorded from, which is
   * why it has one of its own; they all share the memory of the activations.
   */
  private record Replay(CapturedForward graph, IExecutionContext context) {
    void close() {
      graph.close();
      TensorRtPlan.close(context);
    }
  }

  private final NitConfig config;
  private final Options options;
  private final String description;
  private final TensorRtPlan plan;
  private final List<Bucket> buckets = new ArrayList<>();
  private final Map<String, Binding> bindings = new LinkedHashMap<>();
  private final Map<Bucket, Shape> shaped = new HashMap<>();
  private final Map<Shape, Replay> graphs = new LinkedHashMap<>(16, 0.75f, true);
  private boolean graphsWork;
  private Pointer activations;
  private long activationBytes;
  private int mostTokens;
  private int mostImages;
  private CUstream_st stream;
  private CUevent_st begun;
  private CUevent_st ended;
  private PackLayout boundLayout;
  private RopeTables boundRope;
  private float deviceMillis = Float.NaN;
  private boolean open = true;

  private TensorRtEngine(NitConfig config, TensorRtPlan plan, Options options) {
    this.config = config;
    this.plan = plan;
    this.options = options;
    this.graphsWork = options.cudaGraphs;
    this.description = "TensorRT " + TensorRt.version() + ", " + plan.gpu().name();
  }

  /**
   * Opens a plan and takes the memory of its largest profile.
   *
   * @param file the plan
   * @param config the model's shape
   * @param plugins the library of the plugins that the plan holds, if it holds any
   * @return the engine, which the caller closes
   * @throws NoSuchFileException if there is no such file
   * @throws IOException if the plan cannot be read
   * @throws EngineException if TensorRT is not there, does not take the plan, or its inputs and
   *     output are not those of {@code config}; or if there is too little memory
   */
  public static TensorRtEngine open(
      Path file, NitConfig config, Optional<PluginLibrary> plugins, Options options)
      throws IOException, EngineException {
    Optional<String> refusal = TensorRt.refusal(options.device);
    if (refusal.isPresent()) {
      throw new EngineException("TensorRT cannot run " + file + ": " + refusal.get());
    }
    TensorRtEngine engine = null;
    try {
      TensorRtPlan plan = TensorRtPlan.open(file, plugins, options.device);
      engine = new TensorRtEngine(config, plan, options);
      engine.checkSignature();
      engine.take();
      return engine;
    } catch (TensorRtException e) {
      if (engine != null) {
        engine.close();
      }
      throw new EngineException(e.getMessage(), e);
    } catch (EngineException | RuntimeException e) {
      if (engine != null) {
        engine.close();
      }
      throw e;
    }
  }

  /** Opens a plan that {@link PlanCheck} does not refuse. */
  static TensorRtEngine open(Path file, EngineManifest manifest, Options options)
      throws IOException, EngineException {
    Optional<PluginLibrary> plugins =
        manifest.builtOn().plugins().isPresent()
            ? Optional.of(PluginLibrary.find())
            : Optional.empty();
    return open(file, manifest.config(), plugins, options);
  }

  private void checkSignature() throws EngineException {
    long p = config.patchSize();
    long[] latent = {-1, config.inChannels(), p, p};
    long[] table = {-1, config.headDim()};
    Map<String, long[]> expected = new LinkedHashMap<>();
    expected.put("x", latent);
    expected.put("t", new long[] {-1});
    expected.put("y", new long[] {-1});
    expected.put("cu_seqlens", new long[] {-1});
    expected.put("image_index", new long[] {-1});
    expected.put("rope_cos", table);
    expected.put("rope_sin", table);
    expected.put("v", latent);
    for (Map.Entry<String, long[]> tensor : expected.entrySet()) {
      Optional<long[]> found = plan.shape(tensor.getKey());
      if (found.isEmpty() || !Arrays.equals(found.get(), tensor.getValue())) {
        throw new EngineException(
            tensor.getKey()
                + ": expected "
                + Arrays.toString(tensor.getValue())
                + " (-1: dynamic), found "
                + found.map(Arrays::toString).orElse("none")
                + " in "
                + plan.file());
      }
    }
  }

  /** Takes the contexts, the stream and all memory. */
  private void take() throws TensorRtException {
    for (int i = 0; i < plan.profiles(); i++) {
      int tokens = plan.largest("x", i);
      int images = plan.largest("t", i);
      mostTokens = Math.max(mostTokens, tokens);
      mostImages = Math.max(mostImages, images);
      activationBytes = Math.max(activationBytes, plan.engine().getDeviceMemorySizeForProfileV2(i));
    }
    LOG.info(
        "{}: {} profiles up to {} tokens and {} images; activations take {} MiB, weights lie on"
            + " the device already, {} MiB are free",
        plan.file().getFileName(),
        plan.profiles(),
        mostTokens,
        mostImages,
        activationBytes >> 20,
        Cuda.freeBytes() >> 20);
    stream = new CUstream_st();
    Cuda.check(
        cudart.cudaStreamCreateWithFlags(stream, cudart.cudaStreamNonBlocking), "CUDA stream");
    begun = new CUevent_st();
    ended = new CUevent_st();
    Cuda.check(cudart.cudaEventCreate(begun), "CUDA event");
    Cuda.check(cudart.cudaEventCreate(ended), "CUDA event");
    activations = Cuda.allocate(activationBytes, "activations of " + mostTokens + " tokens");
    long tokens = mostTokens;
    bind("x", tokens * config.tokenSize() * Float.BYTES);
    bind("t", (long) mostImages * Float.BYTES);
    bind("y", (long) mostImages * Long.BYTES);
    bind("cu_seqlens", (mostImages + 1L) * Integer.BYTES);
    bind("image_index", tokens * Integer.BYTES);
    bind("rope_cos", tokens * config.headDim() * Float.BYTES);
    bind("rope_sin", tokens * config.headDim() * Float.BYTES);
    bind("v", tokens * config.tokenSize() * Float.BYTES);
    for (int i = 0; i < plan.profiles(); i++) {
      buckets.add(new Bucket(i, plan.largest("x", i), plan.largest("t", i), context(i)));
    }
    buckets.sort((a, b) -> Integer.compare(a.tokens, b.tokens));
  }

  /** A context of a profile, with all addresses set. */
  private IExecutionContext context(int profile) throws TensorRtException {
    IExecutionContext context = plan.context();
    try {
      require(context.setOptimizationProfileAsync(profile, stream), "profile " + profile);
      Cuda.synchronize(stream, "profile " + profile);
      context.setDeviceMemoryV2(activations, activationBytes);
      for (Binding binding : bindings.values()) {
        require(
            context.setTensorAddress(binding.name(), binding.device()),
            "address of " + binding.name());
      }
      return context;
    } catch (TensorRtException e) {
      TensorRtPlan.close(context);
      throw e;
    }
  }

  private void bind(String name, long bytes) throws TensorRtException {
    bindings.put(name, new Binding(name, bytes));
  }

  private static void require(boolean done, String what) throws TensorRtException {
    if (!done) {
      throw new TensorRtException(
          "TensorRT refused " + what + ": " + TensorRtLogger.shared().errors());
    }
  }

  @Override
  public String backend() {
    return NAME;
  }

  @Override
  public String description() {
    return description;
  }

  @Override
  public NitConfig config() {
    return config;
  }

  @Override
  public int maxTokens() {
    return mostTokens;
  }

  /** The most images of a pack of the most tokens; a pack of fewer tokens may hold fewer. */
  @Override
  public int maxImages() {
    return mostImages;
  }

  /** Bytes of device memory that activations take, for the largest profile. */
  public long activationBytes() {
    return activationBytes;
  }

  /**
   * Milliseconds that the device took for the last forward, without the copies from and to the
   * host; NaN before the first.
   */
  public synchronized float deviceMillis() {
    return deviceMillis;
  }

  /** How many shapes are replayed as CUDA graphs at the moment. */
  public synchronized int capturedShapes() {
    return graphs.size();
  }

  @Override
  public synchronized void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
    requireOpen();
    PackLayout layout = in.layout();
    int values = in.requireValues(config, v);
    in.requireHeadDim(config);
    try {
      Cuda.check(cudart.cudaSetDevice(options.device), "device " + options.device);
      Bucket bucket = bucket(layout);
      upload(in, values);
      Cuda.check(cudart.cudaEventRecord(begun, stream), "CUDA event");
      run(bucket, new Shape(layout.tokens(), layout.images()));
      Cuda.check(cudart.cudaEventRecord(ended, stream), "CUDA event");
      Binding out = bindings.get("v");
      int bytes = values * Float.BYTES;
      out.download(bytes, stream);
      Cuda.synchronize(stream, "forward of " + layout);
      float[] millis = new float[1];
      if (cudart.cudaEventElapsedTime(millis, begun, ended) == cudart.cudaSuccess) {
        deviceMillis = millis[0];
      }
      v.put(out.host(bytes).asFloatBuffer());
    } catch (TensorRtException e) {
      boundLayout = null; // what was being copied may not have arrived
      boundRope = null;
      throw new EngineException(
          "forward of "
              + layout
              + " failed in TensorRT: "
              + e.getMessage()
              + "; "
              + (Cuda.freeBytes() >> 20)
              + " MiB of device memory are free",
          e);
    }
  }

  private Bucket bucket(PackLayout layout) throws EngineException {
    for (Bucket bucket : buckets) {
      if (layout.tokens() <= bucket.tokens && layout.images() <= bucket.images) {
        return bucket;
      }
    }
    Bucket largest = buckets.get(buckets.size() - 1);
    throw new EngineException(
        plan.file()
            + ": expected at most "
            + largest.tokens
            + " tokens and "
            + largest.images
            + " images in a pack, found "
            + layout);
  }

  private void upload(ForwardInputs in, int values) throws TensorRtException {
    PackLayout layout = in.layout();
    int images = layout.images();
    int tokens = layout.tokens();
    Binding x = bindings.get("x");
    x.host(values * Float.BYTES).asFloatBuffer().put(in.x().duplicate());
    x.upload((long) values * Float.BYTES, stream);
    Binding t = bindings.get("t");
    t.host(images * Float.BYTES).asFloatBuffer().put(in.t());
    t.upload((long) images * Float.BYTES, stream);
    Binding y = bindings.get("y");
    y.host(images * Long.BYTES).asLongBuffer().put(in.y());
    y.upload((long) images * Long.BYTES, stream);
    // Steps in a row mostly have the same pack: what only depends on it stays on the device.
    if (!layout.equals(boundLayout)) {
      Binding cu = bindings.get("cu_seqlens");
      cu.host((images + 1) * Integer.BYTES).asIntBuffer().put(layout.cuSeqlens());
      cu.upload((images + 1L) * Integer.BYTES, stream);
      Binding index = bindings.get("image_index");
      index.host(tokens * Integer.BYTES).asIntBuffer().put(layout.imageIndex());
      index.upload((long) tokens * Integer.BYTES, stream);
      boundLayout = layout;
    }
    RopeTables rope = in.rope();
    if (rope != boundRope) {
      int bytes = rope.cos().length * Float.BYTES;
      Binding cos = bindings.get("rope_cos");
      cos.host(bytes).asFloatBuffer().put(rope.cos());
      cos.upload(bytes, stream);
      Binding sin = bindings.get("rope_sin");
      sin.host(bytes).asFloatBuffer().put(rope.sin());
      sin.upload(bytes, stream);
      boundRope = rope;
    }
  }

  private void run(Bucket bucket, Shape shape) throws TensorRtException {
    Replay replay = graphs.get(shape);
    if (replay != null) {
      replay.graph.launch(stream);
      return;
    }
    boolean again = shape.equals(shaped.get(bucket));
    if (!again) {
      setShapes(bucket.context, shape);
      shaped.put(bucket, shape);
    }
    enqueue(bucket.context);
    if (again && graphsWork) {
      record(bucket, shape);
    }
  }

  /** Records a forward for the calls after this one. */
  private void record(Bucket bucket, Shape shape) {
    IExecutionContext context = null;
    try {
      context = context(bucket.profile);
      IExecutionContext recorded = context;
      setShapes(recorded, shape);
      enqueue(recorded); // TensorRT's work of the first run of a shape cannot be recorded
      graphs.put(shape, new Replay(CapturedForward.of(stream, () -> enqueue(recorded)), recorded));
      if (graphs.size() > MOST_GRAPHS) {
        graphs.remove(graphs.keySet().iterator().next()).close();
      }
    } catch (TensorRtException e) {
      TensorRtPlan.close(context);
      graphsWork = false;
      LOG.warn("{}: CUDA graphs are off from here on: {}", plan.file(), e.getMessage());
    }
  }

  private void setShapes(IExecutionContext context, Shape shape) throws TensorRtException {
    long p = config.patchSize();
    shape(context, "x", shape.tokens, config.inChannels(), p, p);
    shape(context, "t", shape.images);
    shape(context, "y", shape.images);
    shape(context, "cu_seqlens", shape.images + 1L);
    shape(context, "image_index", shape.tokens);
    shape(context, "rope_cos", shape.tokens, config.headDim());
    shape(context, "rope_sin", shape.tokens, config.headDim());
  }

  private static void shape(IExecutionContext context, String name, long... dims)
      throws TensorRtException {
    try (Dims64 extents = new Dims64()) {
      extents.nbDims(dims.length);
      for (int i = 0; i < dims.length; i++) {
        extents.d(i, dims[i]);
      }
      require(context.setInputShape(name, extents), name + " of " + Arrays.toString(dims));
    }
  }

  private void enqueue(IExecutionContext context) throws TensorRtException {
    require(context.enqueueV3(stream), "the forward");
  }

  private void requireOpen() {
    if (!open) {
      throw new IllegalStateException("TensorRtEngine: used after close");
    }
  }

  @Override
  public synchronized void close() {
    if (!open) {
      return;
    }
    open = false;
    cudart.cudaSetDevice(options.device); // of this thread
    if (stream != null && !stream.isNull()) {
      cudart.cudaStreamSynchronize(stream);
    }
    graphs.values().forEach(Replay::close);
    graphs.clear();
    buckets.forEach(bucket -> TensorRtPlan.close(bucket.context));
    bindings.values().forEach(Binding::close);
    Cuda.free(activations);
    for (CUevent_st event : Arrays.asList(begun, ended)) {
      if (event != null && !event.isNull()) {
        cudart.cudaEventDestroy(event);
      }
    }
    if (stream != null && !stream.isNull()) {
      cudart.cudaStreamDestroy(stream);
    }
    plan.close();
  }
}
