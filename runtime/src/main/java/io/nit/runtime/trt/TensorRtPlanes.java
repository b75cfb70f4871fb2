package io.nit.runtime.trt;

import static io.nit.runtime.trt.TensorRtEngine.checkShape;
import static io.nit.runtime.trt.TensorRtEngine.require;
import static io.nit.runtime.trt.TensorRtEngine.shape;

import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.codec.LatentSize;
import io.nit.core.io.Closing;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtPlan;
import io.nit.runtime.engine.EngineException;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Function;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.nvinfer.IExecutionContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A plan of a network between planes, [batch, from, h, w] to [batch, to, h', w'], such as a half of
 * an autoencoder. It has a stream and contexts of its own, so that it runs beside other engines of
 * the process.
 *
 * <p>Weights lie on the device from the start. The memory for activations, input and output of a
 * profile is taken when a size first needs it, after a line in the log that says how much, and kept
 * for sizes up to that; it is the largest profile's at most. A size that comes again is replayed as
 * a CUDA graph. One call at a time.
 */
final class TensorRtPlanes implements AutoCloseable {
  private static final Logger LOG = LoggerFactory.getLogger(TensorRtPlanes.class);
  private static final int MOST_GRAPHS = 8;
  private static final String RUN = "the run";

  /** A profile of the plan: the most it holds. */
  private record Profile(int index, int batch, int h, int w) {
    boolean holds(int height, int width) {
      return height <= h && width <= w;
    }
  }

  private record Size(int batch, int h, int w) {}

  /**
   * What goes in and comes out.
   *
   * @param from the input's name
   * @param fromChannels the input's channels
   * @param to the output's name
   * @param toChannels the output's channels
   * @param numerator height and width of the output are those of the input times this
   * @param denominator and divided by this
   */
  record Ports(
      String from, int fromChannels, String to, int toChannels, int numerator, int denominator) {
    int out(int extent) {
      return extent * numerator / denominator;
    }
  }

  private final TensorRtPlan plan;
  private final Ports ports;
  private final int device;
  private final List<Profile> profiles = new ArrayList<>();
  private final Map<Profile, IExecutionContext> contexts = new HashMap<>();
  private final Map<Profile, Size> shaped = new HashMap<>();
  private final Map<Size, CapturedForward> graphs = new LinkedHashMap<>(16, 0.75f, true);
  private int mostGraphs = MOST_GRAPHS;
  private boolean dynamic; // else the input has one size, which is neither asked for nor set
  private final Recordings recordings;
  private CUstream_st stream;
  private CUevent_st begun;
  private CUevent_st ended;
  private Pointer activations;
  private long activationBytes;
  private Binding in;
  private Binding out;
  private long inBytes;
  private long outBytes;
  private float deviceMillis = Float.NaN;
  private boolean open = true;

  private TensorRtPlanes(TensorRtPlan plan, Ports ports, int device) {
    this.plan = plan;
    this.ports = ports;
    this.device = device;
    this.recordings = new Recordings(plan.file(), true);
  }

  /**
   * Opens a plan, with its weights on the device.
   *
   * @return the network, which the caller closes
   * @throws IOException if the plan cannot be read
   * @throws EngineException if TensorRT does not take the plan, its input or output are others, or
   *     there is too little memory
   */
  static TensorRtPlanes open(Path file, long planBytes, Ports ports, int device)
      throws IOException, EngineException {
    TensorRtPlanes planes = null;
    try {
      Cuda.check(cudart.cudaSetDevice(device), "device " + device);
      LOG.info(
          "{}: weights take about {} MiB of device memory, {} MiB are free",
          file.getFileName(),
          planBytes >> 20,
          Cuda.freeBytes() >> 20);
      planes = new TensorRtPlanes(TensorRtPlan.open(file, Optional.empty(), device), ports, device);
      checkShape(planes.plan, ports.from, -1, ports.fromChannels, -1, -1);
      checkShape(planes.plan, ports.to, -1, ports.toChannels, -1, -1);
      planes.prepare();
      return planes;
    } catch (TensorRtException e) {
      EngineException failure = new EngineException(e.getMessage(), e);
      Closing.ownerAfter(failure, planes);
      throw failure;
    } catch (EngineException | RuntimeException | Error e) {
      Closing.ownerAfter(e, planes);
      throw e;
    }
  }

  private void prepare() throws TensorRtException {
    for (int i = 0; i < plan.profiles(); i++) {
      long[] most = plan.largestShape(ports.from, i);
      profiles.add(new Profile(i, (int) most[0], (int) most[2], (int) most[3]));
    }
    dynamic = Arrays.stream(plan.shape(ports.from).orElseThrow()).anyMatch(extent -> extent < 0);
    profiles.sort((a, b) -> Long.compare((long) a.h * a.w, (long) b.h * b.w));
    stream = Cuda.stream();
    begun = Cuda.event();
    ended = Cuda.event();
  }

  /** The pictures that each profile holds, rising: a picture is the larger of input and output. */
  List<PictureProfile> sizes() {
    return profiles.stream()
        .map(
            profile -> new PictureProfile(Math.max(profile.h, ports.out(profile.h)), profile.batch))
        .toList();
  }

  /** Milliseconds that the device took for the last run, without copies; NaN before the first. */
  float deviceMillis() {
    return deviceMillis;
  }

  /**
   * Runs inputs of one size, as many together as the profile takes.
   *
   * @param values [from, h, w] each
   * @return [to, h', w'] each
   * @throws EngineException if no profile holds the size, TensorRT fails, or there is too little
   *     memory, of which some is free again then
   */
  List<float[]> run(List<float[]> values, int h, int w) throws EngineException {
    return run(
        values,
        h,
        w,
        planes -> {
          float[] result = new float[planes.remaining()];
          planes.get(result);
          return result;
        });
  }

  /**
   * Runs inputs as {@link #run(List, int, int)} does.
   *
   * @param reader makes the results: called once for each input with its [to, h', w'], which lie in
   *     memory of the host and are overwritten by the next run
   */
  <T> List<T> run(List<float[]> values, int h, int w, Function<FloatBuffer, T> reader)
      throws EngineException {
    requireOpen();
    Profile profile = profile(h, w);
    List<T> results = new ArrayList<>();
    try {
      Cuda.check(cudart.cudaSetDevice(device), "device " + device);
      take(profile);
      for (int at = 0; at < values.size(); at += profile.batch) {
        List<float[]> some = values.subList(at, Math.min(values.size(), at + profile.batch));
        FloatBuffer planes = run(profile, some, h, w);
        int each = planes.remaining() / some.size();
        for (int i = 0; i < some.size(); i++) {
          results.add(reader.apply(planes.slice(i * each, each)));
        }
      }
      return results;
    } catch (TensorRtException e) {
      throw new EngineException(
          plan.file().getFileName()
              + " failed in TensorRT on "
              + w
              + "x"
              + h
              + ": "
              + e.getMessage(),
          e);
    }
  }

  private Profile profile(int h, int w) throws EngineException {
    for (Profile profile : profiles) {
      if (profile.holds(h, w)) {
        return profile;
      }
    }
    Profile largest = profiles.get(profiles.size() - 1);
    throw new EngineException(
        plan.file()
            + ": expected at most "
            + largest.w
            + "x"
            + largest.h
            + " of "
            + ports.from
            + ", found "
            + w
            + "x"
            + h
            + "; nit-export engine --autoencoder-sizes builds for larger ones");
  }

  /** One run; what comes out lies in the pinned memory of the output. */
  private FloatBuffer run(Profile profile, List<float[]> values, int h, int w)
      throws TensorRtException {
    int count = values.size();
    int inValues = count * ports.fromChannels * h * w;
    int outValues = count * ports.toChannels * ports.out(h) * ports.out(w);
    FloatBuffer from = in.host(inValues * Float.BYTES).asFloatBuffer();
    values.forEach(from::put);
    in.upload((long) inValues * Float.BYTES, stream);
    Cuda.check(cudart.cudaEventRecord(begun, stream), "CUDA event");
    forward(profile, new Size(count, h, w));
    Cuda.check(cudart.cudaEventRecord(ended, stream), "CUDA event");
    out.download((long) outValues * Float.BYTES, stream);
    Cuda.synchronize(stream, "run of " + count + " of " + w + "x" + h);
    float[] millis = new float[1];
    if (cudart.cudaEventElapsedTime(millis, begun, ended) == cudart.cudaSuccess) {
      deviceMillis = millis[0];
    }
    return out.host(outValues * Float.BYTES).asFloatBuffer();
  }

  /** The largest input of the profile that holds least. */
  LatentSize smallest() {
    Profile profile = profiles.get(0);
    return new LatentSize(profile.h, profile.w);
  }

  /**
   * Runs and records inputs of sizes, one by one, whatever memory holds, so that the next run of
   * such a size is as fast as any. The memory of all their profiles is taken first, after a line in
   * the log that says how much; graphs take some more, which is logged afterwards.
   *
   * @throws EngineException as {@link #run}
   */
  void warmUp(List<LatentSize> sizes) throws EngineException {
    requireOpen();
    Map<LatentSize, Profile> ready = new LinkedHashMap<>();
    for (LatentSize size : sizes) {
      ready.put(size, profile(size.h(), size.w()));
    }
    mostGraphs = Math.max(mostGraphs, ready.size());
    recordings.again();
    try {
      Cuda.check(cudart.cudaSetDevice(device), "device " + device);
      // Of all before any is recorded, most first: taking more gives up what there is.
      for (int i = profiles.size() - 1; i >= 0; i--) {
        if (ready.containsValue(profiles.get(i))) {
          take(profiles.get(i));
        }
      }
      long free = Cuda.freeBytes();
      for (Map.Entry<LatentSize, Profile> one : ready.entrySet()) {
        Size size = alone(one.getKey());
        Cuda.check(cudart.cudaMemsetAsync(in.device(), 0, inBytes, stream), "clearing of inputs");
        for (int i = 0; i < 3; i++) { // the second records, the third replays
          forward(one.getValue(), size);
        }
        Cuda.synchronize(stream, "run of " + size.w + "x" + size.h);
      }
      LOG.info(
          "{}: {} sizes are ready, {} of them recorded, which took {} MiB of device memory",
          plan.file().getFileName(),
          ready.size(),
          ready.keySet().stream().filter(size -> graphs.containsKey(alone(size))).count(),
          Math.max(0, free - Cuda.freeBytes()) >> 20);
    } catch (TensorRtException e) {
      throw new EngineException(
          plan.file().getFileName() + " could not be warmed up: " + e.getMessage(), e);
    }
  }

  private static Size alone(LatentSize size) {
    return new Size(1, size.h(), size.w());
  }

  private void requireOpen() {
    if (!open) {
      throw new IllegalStateException("TensorRtPlanes: used after close");
    }
  }

  /** Takes what memory a profile needs beyond what is there. */
  private void take(Profile profile) throws TensorRtException {
    long needed = plan.engine().getDeviceMemorySizeForProfileV2(profile.index);
    long cells = (long) profile.batch * profile.h * profile.w;
    long neededIn = cells * ports.fromChannels * Float.BYTES;
    long neededOut =
        (long) profile.batch
            * ports.out(profile.h)
            * ports.out(profile.w)
            * ports.toChannels
            * Float.BYTES;
    if (needed <= activationBytes && neededIn <= inBytes && neededOut <= outBytes) {
      return;
    }
    if (Math.max(neededIn, neededOut) > Integer.MAX_VALUE - 8) {
      throw new TensorRtException(
          "profile of "
              + profile
              + ": expected at most 2 GiB of input and of output, found "
              + (Math.max(neededIn, neededOut) >> 20)
              + " MiB; build it with a smaller --autoencoder-batch");
    }
    needed = Math.max(needed, activationBytes);
    neededIn = Math.max(neededIn, inBytes);
    neededOut = Math.max(neededOut, outBytes);
    release(); // first: both would not fit where memory is short
    LOG.info(
        "{}: takes {} MiB of device memory for activations, input and output of up to {}x{};"
            + " {} MiB are free",
        plan.file().getFileName(),
        needed + neededIn + neededOut >> 20,
        profile.w,
        profile.h,
        Cuda.freeBytes() >> 20);
    try {
      activations = Cuda.allocate(needed, "activations of " + profile.w + "x" + profile.h);
      in = new Binding(ports.from, neededIn);
      out = new Binding(ports.to, neededOut);
    } catch (TensorRtException e) {
      release(); // a smaller size may fit
      throw e;
    }
    activationBytes = needed;
    inBytes = neededIn;
    outBytes = neededOut;
  }

  private void forward(Profile profile, Size size) throws TensorRtException {
    recordings.called();
    CapturedForward recorded = graphs.get(size);
    if (recorded != null) {
      recorded.launch(stream);
      return;
    }
    IExecutionContext context = contexts.get(profile);
    if (context == null) {
      context = context(profile);
      contexts.put(profile, context);
    }
    boolean again = size.equals(shaped.get(profile));
    if (!again) {
      shaped.remove(profile); // a size that is refused may have taken the last one's place
      setShape(context, size);
      shaped.put(profile, size);
    }
    require(context.enqueueV3(stream), RUN);
    if (again && recordings.on()) {
      record(profile, size);
    }
  }

  private void setShape(IExecutionContext context, Size size) throws TensorRtException {
    if (dynamic) {
      shape(context, ports.from, size.batch, ports.fromChannels, size.h, size.w);
    }
  }

  /** Records a run for the calls after this one. */
  private void record(Profile profile, Size size) {
    IExecutionContext context = null;
    try {
      context = context(profile);
      setShape(context, size);
      // TensorRT's work of the first run of a shape cannot be recorded.
      require(context.enqueueV3(stream), RUN);
      graphs.put(size, CapturedForward.of(stream, context, RUN));
      recordings.recorded();
      if (graphs.size() > mostGraphs) {
        graphs.remove(graphs.keySet().iterator().next()).close();
      }
    } catch (TensorRtException e) {
      cudart.cudaStreamSynchronize(stream); // the context's first run may be under way
      TensorRtPlan.close(context);
      recordings.failed(e.getMessage());
    }
  }

  /** A context of a profile, with all addresses set. */
  private IExecutionContext context(Profile profile) throws TensorRtException {
    IExecutionContext context = plan.context();
    try {
      require(
          context.setOptimizationProfileAsync(profile.index, stream), "profile " + profile.index);
      Cuda.synchronize(stream, "profile " + profile.index);
      context.setDeviceMemoryV2(activations, activationBytes);
      for (Binding binding : List.of(in, out)) {
        require(
            context.setTensorAddress(binding.name(), binding.device()),
            "address of " + binding.name());
      }
      return context;
    } catch (TensorRtException | RuntimeException | Error e) {
      TensorRtPlan.close(context);
      throw e;
    }
  }

  /** Frees the activations, input and output, and all that knows their addresses. */
  private void release() {
    if (stream != null && !stream.isNull()) {
      cudart.cudaStreamSynchronize(stream);
    }
    graphs.values().forEach(CapturedForward::close);
    graphs.clear();
    contexts.values().forEach(TensorRtPlan::close);
    contexts.clear();
    shaped.clear();
    Cuda.free(activations);
    activations = null;
    activationBytes = 0;
    for (Binding binding : Arrays.asList(in, out)) {
      if (binding != null) {
        binding.close();
      }
    }
    in = null;
    out = null;
    inBytes = 0;
    outBytes = 0;
  }

  @Override
  public void close() {
    if (!open) {
      return;
    }
    open = false;
    cudart.cudaSetDevice(device); // of this thread
    release();
    Cuda.destroy(begun);
    Cuda.destroy(ended);
    Cuda.destroy(stream);
    plan.close();
  }
}
