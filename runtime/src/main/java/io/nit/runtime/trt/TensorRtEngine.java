package io.nit.runtime.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineSubject;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.KernelException;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.cuda.SamplerKernels;
import io.nit.core.io.Closing;
import io.nit.core.packing.PackLayout;
import io.nit.core.rope.RopeTables;
import io.nit.core.tensor.DType;
import io.nit.core.trt.Cuda;
import io.nit.core.trt.PlanFile;
import io.nit.core.trt.TensorRt;
import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtLogger;
import io.nit.core.trt.TensorRtPlan;
import io.nit.core.trt.TensorRtPlans;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.ResidentSampling;
import io.nit.runtime.engine.StepInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.trt.ProfiledPlan.Bucket;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.HashMap;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import org.bytedeco.cuda.cudart.CUevent_st;
import org.bytedeco.cuda.cudart.CUstream_st;
import org.bytedeco.cuda.global.cudart;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.nvinfer.Dims64;
import org.bytedeco.tensorrt.nvinfer.IExecutionContext;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * A NiT model in TensorRT. Every profile is a bucket of tokens; a pack runs in the smallest that
 * holds it. Inputs and the output keep their place on the device from call to call, and what only
 * depends on the pack's layout is copied when it changes. All memory is taken when the engine is
 * opened. Calls from several threads run one after the other, on a stream of the engine's own.
 *
 * <p>A file holds one or more plans that run packs ({@link ProfiledPlan}): where there are several,
 * small packs have one of their own. A 16-bit file also holds one that computes modulations, which
 * the others take from a {@link ModulationTable}. What a plan is for is told by its inputs. All
 * share the stream, the table, the inputs and output, and the memory of activations.
 *
 * <p>With our library, latents can stay on the device through all steps ({@link ResidentLatents}),
 * and the host queues a step while the one before it runs.
 *
 * <p>A size that TensorRT has not just run costs it milliseconds, as much as a small pack takes.
 * Small packs are therefore rounded up to a multiple of {@value #TOKENS_STEP} tokens, whose rows
 * belong to no image, and each such size that comes again is recorded, beside the work, as a CUDA
 * graph of its own and replayed from then on.
 */
public final class TensorRtEngine implements VelocityEngine {
  /** The backend's name. */
  public static final String NAME = "tensorrt";

  private static final Logger LOG = LoggerFactory.getLogger(TensorRtEngine.class);
  private static final int MOST_GRAPHS = 32;
  private static final String FORWARD = "the forward";

  /** Small packs have a multiple of so many tokens: the rows of a product's tile. */
  private static final int TOKENS_STEP = 128;

  /** Packs of at most so many tokens are small: launches cost more than they compute. */
  private static final int SMALL_TOKENS = 2048;

  /** Most packs hold at most so many images, and are rounded up to as many. */
  private static final int FEW_IMAGES = 32;

  /** Others are rounded up to so many, where they hold no more, and to twice the step of tokens. */
  private static final int MANY_IMAGES = 256;

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

  /** A size that runs in a bucket. */
  private record Shape(Bucket bucket, int tokens, int images) {
    /** What a pack is rounded up to, so that few sizes come and come again. */
    static Shape rounded(Bucket bucket, int packTokens, int packImages) {
      boolean few = packImages <= FEW_IMAGES;
      int step = few ? TOKENS_STEP : 2 * TOKENS_STEP;
      int most = few ? FEW_IMAGES : packImages <= MANY_IMAGES ? MANY_IMAGES : bucket.images();
      int up = (packTokens + step - 1) / step * step;
      return new Shape(
          bucket,
          packTokens <= SMALL_TOKENS ? Math.min(up, bucket.tokens()) : packTokens,
          Math.min(most, bucket.images()));
    }
  }

  private final NitConfig config;
  private final Options options;
  private final String description;
  private final TensorRtPlans plans;
  private final Optional<TensorRtPlan> modulations;
  private final List<ProfiledPlan> packs;
  private final List<Bucket> buckets;
  private final Path file;
  private final Map<String, Binding> bindings = new LinkedHashMap<>();
  private final Map<Bucket, Shape> shaped = new HashMap<>();
  private final Map<Shape, CapturedForward> graphs = new LinkedHashMap<>(16, 0.75f, true);
  private final Set<Shape> seen = new HashSet<>();
  private final Set<Shape> recording = new HashSet<>();
  private final ExecutorService recorder;
  private final Recordings recordings; // guarded by this
  private Optional<ModulationTable> table = Optional.empty();
  private Optional<ResidentLatents> latents = Optional.empty();
  private Pointer activations;
  private long activationBytes;
  private int mostTokens;
  private int mostImages;
  private volatile long paddedTokens; // written under the lock, which a recording holds for long
  private CUstream_st stream;
  private CUevent_st begun;
  private CUevent_st ended;
  private CUevent_st copied; // what the host gave a step: its memory may be written again
  private PackLayout boundLayout;
  private Shape boundShape;
  private int[] boundRows;
  private RopeTables boundRope;
  private float deviceMillis = Float.NaN;
  private Optional<DType> precision = Optional.empty();
  private boolean open = true;

  private TensorRtEngine(Path file, NitConfig config, TensorRtPlans plans, Options options)
      throws TensorRtException, EngineException {
    this.file = file;
    this.config = config;
    this.plans = plans;
    this.options = options;
    this.recordings = new Recordings(file, options.cudaGraphs);
    this.description = "TensorRT " + TensorRt.version() + ", " + plans.plans().get(0).gpu().name();
    this.modulations = plans.plans().stream().filter(plan -> !runsPacks(plan)).findFirst();
    List<ProfiledPlan> runners = new ArrayList<>();
    for (TensorRtPlan plan : plans.plans()) {
      if (runsPacks(plan)) {
        runners.add(new ProfiledPlan(plan, this::context));
      }
    }
    if (runners.isEmpty() || plans.plans().size() - runners.size() > 1) {
      throw new EngineException(
          file
              + ": expected plans that run packs and at most one of modulations, found "
              + runners.size()
              + " of "
              + plans.plans().size()
              + " that run packs");
    }
    runners.sort(Comparator.comparingInt(ProfiledPlan::mostTokens));
    this.packs = List.copyOf(runners);
    this.buckets =
        packs.stream()
            .flatMap(plan -> plan.buckets().stream())
            .sorted(Comparator.comparingInt(Bucket::tokens))
            .toList();
    this.recorder =
        Executors.newSingleThreadExecutor(
            task -> {
              Thread thread = new Thread(task, "tensorrt-recorder");
              thread.setDaemon(true);
              return thread;
            });
  }

  /**
   * Opens the plans of a file, beside one another, and takes the memory of the largest profile.
   *
   * @param file the plans
   * @param config the model's shape
   * @param plugins the library of the plugins that the plans hold, if they hold any
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
      PlanFile parts = PlanFile.read(file);
      LOG.info(
          "{}: weights of {} plans take {} MiB of device memory, {} MiB are free",
          file.getFileName(),
          parts.parts().size(),
          parts.parts().stream().mapToLong(PlanFile.Part::bytes).sum() >> 20,
          Cuda.freeBytes() >> 20);
      long start = System.nanoTime();
      TensorRtPlans plans = TensorRtPlans.open(parts, plugins, options.device);
      long read = System.nanoTime();
      try {
        engine = new TensorRtEngine(file, config, plans, options);
      } finally {
        if (engine == null) {
          plans.close();
        }
      }
      engine.checkSignature();
      engine.take(plugins.isPresent());
      LOG.info(
          "{}: plans read in {} ms, memory taken in {} ms",
          file.getFileName(),
          (read - start) / 1_000_000,
          (System.nanoTime() - read) / 1_000_000);
      return engine;
    } catch (TensorRtException e) {
      String message =
          e.getMessage() + (e.getMessage().contains(" MiB") ? "" : Cuda.littleMemory());
      EngineException failure = new EngineException(message, e);
      Closing.ownerAfter(failure, engine);
      throw failure;
    } catch (IOException | EngineException | RuntimeException | Error e) {
      Closing.ownerAfter(e, engine);
      throw e;
    }
  }

  /** Opens a plan, and refuses one that is not what its manifest says. */
  static TensorRtEngine open(CheckedPlan plan, Options options)
      throws IOException, EngineException {
    EngineManifest manifest = plan.manifest();
    Optional<PluginLibrary> plugins =
        manifest.builtOn().plugins().isPresent()
            ? Optional.of(PluginLibrary.find())
            : Optional.empty();
    TensorRtEngine engine =
        plan.opened(() -> open(plan.file(), manifest.config(), plugins, options));
    try {
      plan.require(engine.arithmetic(), engine.subject());
      engine.precision = Optional.of(DType.parse(manifest.precision()));
      return engine;
    } catch (EngineException | RuntimeException | Error e) {
      engine.close();
      throw e;
    }
  }

  /** Type of the arithmetic: that of the modulations, which only 16-bit engines have as a plan. */
  private Optional<String> arithmetic() {
    return modulations.isPresent()
        ? packs.get(0).plan().type("modulation")
        : Optional.of(DType.F32.name());
  }

  private EngineSubject subject() {
    return new EngineSubject.Model(
        config,
        buckets.stream()
            .map(bucket -> new EngineManifest.Profile(bucket.tokens(), bucket.images()))
            .toList());
  }

  private void checkSignature() throws EngineException {
    long p = config.patchSize();
    long[] latent = {-1, config.inChannels(), p, p};
    long[] table = {-1, config.headDim()};
    Map<String, long[]> expected = new LinkedHashMap<>();
    expected.put("x", latent);
    expected.put("cu_seqlens", new long[] {-1});
    if (modulations.isPresent()) {
      expected.put("modulation", new long[] {-1, modulationColumns()});
      expected.put("modulation_row", new long[] {-1});
    } else {
      expected.put("t", new long[] {-1});
      expected.put("y", new long[] {-1});
      expected.put("image_index", new long[] {-1});
    }
    expected.put("rope_cos", table);
    expected.put("rope_sin", table);
    expected.put("v", latent);
    for (ProfiledPlan runner : packs) {
      for (Map.Entry<String, long[]> tensor : expected.entrySet()) {
        checkShape(runner.plan(), tensor.getKey(), tensor.getValue());
      }
    }
  }

  /** The modulations are computed from times and labels alone. */
  private static boolean runsPacks(TensorRtPlan plan) {
    return !plan.tensors().equals(Set.of("t", "y", "modulation"));
  }

  /** Checks an input or output of a plan; -1 stands for any extent. */
  static void checkShape(TensorRtPlan plan, String tensor, long... expected)
      throws EngineException {
    Optional<long[]> found = plan.shape(tensor);
    if (found.isEmpty() || !fits(expected, found.get())) {
      throw new EngineException(
          tensor
              + ": expected "
              + Arrays.toString(expected)
              + " (-1: dynamic), found "
              + found.map(Arrays::toString).orElse("none")
              + " in "
              + plan.file());
    }
  }

  /** A dynamic extent that has one value in all profiles is a fixed one in the plan. */
  private static boolean fits(long[] expected, long[] found) {
    if (found.length != expected.length) {
      return false;
    }
    for (int i = 0; i < found.length; i++) {
      if (expected[i] >= 0 && found[i] != expected[i]) {
        return false;
      }
    }
    return true;
  }

  private long modulationColumns() {
    return (long) config.modulationParts() * config.hiddenSize();
  }

  private int tableRows() throws TensorRtException, EngineException {
    List<Rows> all = new ArrayList<>();
    for (ProfiledPlan runner : packs) {
      for (int i = 0; i < runner.plan().profiles(); i++) {
        int tokens = runner.plan().largest("x", i);
        all.add(new Rows(tokens, runner.plan().largest("modulation", i)));
      }
    }
    return oneTable(file, all);
  }

  /** Rows of the table of modulations that a profile of so many tokens takes. */
  record Rows(int tokens, int rows) {}

  /** The rows that all profiles take: they share one table. */
  static int oneTable(Path file, List<Rows> all) throws EngineException {
    Rows first = all.get(0);
    for (Rows other : all) {
      if (other.rows != first.rows) {
        throw new EngineException(
            file
                + ": modulation: expected as many rows in all profiles, found "
                + first.rows
                + " in the profile of "
                + first.tokens
                + " tokens and "
                + other.rows
                + " in that of "
                + other.tokens);
      }
    }
    return first.rows;
  }

  /**
   * Takes the stream and all memory; contexts follow beside the first work.
   *
   * @param plugins whether our library is there, which keeps latents on the device
   */
  private void take(boolean plugins) throws IOException, TensorRtException, EngineException {
    mostTokens = packs.stream().mapToInt(ProfiledPlan::mostTokens).max().orElseThrow();
    mostImages = packs.stream().mapToInt(ProfiledPlan::mostImages).max().orElseThrow();
    activationBytes = packs.stream().mapToLong(ProfiledPlan::activationBytes).max().orElseThrow();
    int rows = modulations.isPresent() ? tableRows() : 0;
    long rowBytes = modulationColumns() * 2;
    boolean keepsLatents = plugins && samplerLoads();
    LOG.info(
        "{}: {} profiles in {} plans, up to {} tokens and {} images; activations take {} MiB and {}"
            + " rows of modulations {} MiB, latents {} MiB, weights lie on the device already, {} MiB"
            + " are free",
        file.getFileName(),
        buckets.size(),
        packs.size(),
        mostTokens,
        mostImages,
        activationBytes >> 20,
        rows,
        rows * rowBytes >> 20,
        keepsLatents ? ResidentLatents.bytes(mostTokens, config.tokenSize()) >> 20 : 0,
        Cuda.freeBytes() >> 20);
    stream = Cuda.stream();
    begun = Cuda.event();
    ended = Cuda.event();
    copied = Cuda.event();
    activations = Cuda.allocate(activationBytes, "activations of " + mostTokens + " tokens");
    if (modulations.isPresent()) {
      table = Optional.of(new ModulationTable(modulations.get(), rows, rowBytes, stream));
    }
    long tokens = mostTokens;
    bind("x", tokens * config.tokenSize() * Float.BYTES);
    bind("cu_seqlens", (mostImages + 1L) * Integer.BYTES);
    if (table.isEmpty()) {
      bind("t", (long) mostImages * Float.BYTES);
      bind("y", (long) mostImages * Long.BYTES);
    }
    bind(rowOfToken(), tokens * Integer.BYTES);
    bind("rope_cos", tokens * config.headDim() * Float.BYTES);
    bind("rope_sin", tokens * config.headDim() * Float.BYTES);
    bind("v", tokens * config.tokenSize() * Float.BYTES);
    if (keepsLatents) {
      latents =
          Optional.of(new ResidentLatents(stream, mostTokens, config.tokenSize(), mostImages));
    }
    makeContexts();
  }

  private boolean samplerLoads() {
    try {
      SamplerKernels.load();
      return true;
    } catch (IOException e) {
      LOG.warn("{}: latents go over the host at every step: {}", file, e.getMessage());
      return false;
    }
  }

  /** A context takes half a second of the host, so that nobody waits for all when opening. */
  private void makeContexts() {
    for (Bucket bucket : buckets) {
      recorder.execute(
          () -> {
            if (isOpen()) {
              try {
                Cuda.check(cudart.cudaSetDevice(options.device), "device " + options.device);
                bucket.context();
              } catch (TensorRtException e) {
                LOG.warn(
                    "{}: no context of the profile of {} tokens yet, its first forward tries again: {}",
                    file.getFileName(),
                    bucket.tokens(),
                    e.getMessage());
              }
            }
          });
    }
  }

  private String rowOfToken() {
    return table.isPresent() ? "modulation_row" : "image_index";
  }

  /** A context of a profile, with all addresses set; made on a stream of its own. */
  private IExecutionContext context(Bucket bucket) throws TensorRtException {
    CUstream_st queue = Cuda.stream();
    try {
      return context(bucket, queue);
    } finally {
      Cuda.destroy(queue);
    }
  }

  private IExecutionContext context(Bucket bucket, CUstream_st queue) throws TensorRtException {
    long start = System.nanoTime();
    IExecutionContext context = bucket.plan().context();
    long made = System.nanoTime();
    try {
      String profile = "profile of " + bucket.tokens() + " tokens";
      require(context.setOptimizationProfileAsync(bucket.profile(), queue), profile);
      Cuda.synchronize(queue, profile);
      LOG.debug(
          "context of the {}: made in {} ms, profile set in {} ms",
          profile,
          (made - start) / 1_000_000,
          (System.nanoTime() - made) / 1_000_000);
      context.setDeviceMemoryV2(activations, activationBytes);
      if (table.isPresent()) {
        require(
            context.setTensorAddress("modulation", table.get().device()), "address of modulation");
      }
      for (Binding binding : bindings.values()) {
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

  private void bind(String name, long bytes) throws TensorRtException {
    bindings.put(name, new Binding(name, bytes));
  }

  static void require(boolean done, String what) throws TensorRtException {
    if (!done) {
      throw new TensorRtException(
          "TensorRT refused " + what + ": " + TensorRtLogger.shared().errors());
    }
  }

  /** Some of the buckets, as an engine that runs all packs in them. */
  private record Among(TensorRtEngine engine, String description, List<Bucket> buckets)
      implements VelocityEngine {
    @Override
    public String backend() {
      return engine.backend();
    }

    @Override
    public NitConfig config() {
      return engine.config;
    }

    @Override
    public Optional<DType> precision() {
      return engine.precision;
    }

    @Override
    public int maxTokens() {
      return buckets.get(buckets.size() - 1).tokens();
    }

    @Override
    public int maxImages() {
      return buckets.stream().mapToInt(Bucket::images).max().orElseThrow();
    }

    @Override
    public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
      engine.forward(in, v, buckets);
    }

    /** The memory is the engine's. */
    @Override
    public void close() {}
  }

  private VelocityEngine among(String name, List<Bucket> some) {
    return new Among(
        this, name + " of up to " + some.get(some.size() - 1).tokens() + " tokens", some);
  }

  @Override
  public List<VelocityEngine> variants() {
    return packs.stream().map(runner -> among("plan", runner.buckets())).toList();
  }

  @Override
  public List<VelocityEngine> profiles() {
    return buckets.stream().map(bucket -> among("profile", List.of(bucket))).toList();
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

  /** {@inheritDoc} A plan tells it in its manifest. */
  @Override
  public Optional<DType> precision() {
    return precision;
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

  @Override
  public long paddedTokens() {
    return paddedTokens;
  }

  /** How many shapes are replayed as CUDA graphs at the moment. */
  public synchronized int capturedShapes() {
    return graphs.size();
  }

  @Override
  public synchronized void announce(float[] t, long[] y) throws EngineException {
    requireOpen();
    if (table.isEmpty()) {
      return;
    }
    try {
      Cuda.check(cudart.cudaSetDevice(options.device), "device " + options.device);
      table.get().announce(t, y);
    } catch (TensorRtException e) {
      table.get().forget();
      throw new EngineException(
          "modulations of " + t.length + " steps failed in TensorRT: " + e.getMessage(), e);
    }
  }

  @Override
  public void forward(ForwardInputs in, FloatBuffer v) throws EngineException {
    forward(in, v, buckets);
  }

  /** The forward in the smallest of some buckets that holds the pack. */
  private synchronized void forward(ForwardInputs in, FloatBuffer v, List<Bucket> among)
      throws EngineException {
    requireOpen();
    PackLayout layout = in.layout();
    int values = in.requireValues(config, v);
    in.requireHeadDim(config);
    try {
      Cuda.check(cudart.cudaSetDevice(options.device), "device " + options.device);
      Shape shape = shape(layout, among);
      awaitCopies();
      Binding x = bindings.get("x");
      x.host(values * Float.BYTES).asFloatBuffer().put(in.x().duplicate());
      x.upload((long) values * Float.BYTES, stream);
      upload(layout, in.rope(), shape);
      Cuda.check(cudart.cudaEventRecord(begun, stream), "CUDA event");
      condition(layout, in.t(), in.y(), shape);
      run(shape, layout);
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
      throw failed(layout, e);
    }
  }

  private EngineException failed(PackLayout layout, Exception e) {
    boundLayout = null; // what was being copied may not have arrived
    boundRope = null;
    table.ifPresent(ModulationTable::forget);
    return new EngineException(
        "forward of " + layout + " failed in TensorRT: " + e.getMessage() + Cuda.littleMemory(), e);
  }

  /** Empty where our library is not: for engines in single precision. */
  @Override
  public Optional<ResidentSampling> resident() {
    return latents.map(kept -> in -> begin(in, kept));
  }

  private synchronized ResidentSampling.Step begin(StepInputs in, ResidentLatents kept)
      throws EngineException {
    requireOpen();
    PackLayout layout = in.layout();
    in.requireHeadDim(config);
    try {
      Cuda.check(cudart.cudaSetDevice(options.device), "device " + options.device);
      Shape shape = shape(layout, buckets);
      awaitCopies();
      kept.place(in);
      upload(layout, in.rope(), shape);
      condition(layout, in.t(), in.y(), shape);
      Cuda.check(cudart.cudaEventRecord(copied, stream), "CUDA event");
      kept.gather(bindings.get("x").device());
      run(shape, layout);
      return new UnderWay(layout, kept.advance(bindings.get("v").device()));
    } catch (TensorRtException | KernelException e) {
      throw failed(layout, e);
    }
  }

  /** A step that is waited for under the engine's lock. */
  private final class UnderWay implements ResidentSampling.Step {
    private final PackLayout layout;
    private final ResidentLatents.UnderWay step;

    UnderWay(PackLayout layout, ResidentLatents.UnderWay step) {
      this.layout = layout;
      this.step = step;
    }

    @Override
    public void await() throws EngineException {
      synchronized (TensorRtEngine.this) {
        requireOpen();
        try {
          Cuda.check(cudart.cudaSetDevice(options.device), "device " + options.device);
          step.await();
        } catch (TensorRtException e) {
          throw failed(layout, e);
        }
      }
    }

    @Override
    public boolean finite(int image) {
      return step.finite(image);
    }

    @Override
    public double[] latent(int image) {
      return step.latent(image);
    }
  }

  /** Waits until the host's side of the inputs may be written; the device is mostly past that. */
  private void awaitCopies() throws TensorRtException {
    Cuda.check(cudart.cudaEventSynchronize(copied), "copies of the step before");
  }

  private Shape shape(PackLayout layout, List<Bucket> among) throws EngineException {
    Bucket bucket = bucket(layout, among);
    return table.isPresent()
        ? Shape.rounded(bucket, layout.tokens(), layout.images())
        : new Shape(bucket, layout.tokens(), layout.images());
  }

  private Bucket bucket(PackLayout layout, List<Bucket> among) throws EngineException {
    Optional<Bucket> found = Bucket.holding(among, layout.tokens(), layout.images());
    if (found.isPresent()) {
      return found.get();
    }
    Bucket largest = among.get(among.size() - 1);
    throw new EngineException(
        file
            + ": expected at most "
            + largest.tokens()
            + " tokens and "
            + largest.images()
            + " images in a pack, found "
            + layout);
  }

  /** Copies what a forward reads of its pack. */
  private void upload(PackLayout layout, RopeTables rope, Shape shape) throws TensorRtException {
    // Steps in a row mostly have the same pack: what only depends on it stays on the device.
    if (!layout.equals(boundLayout) || !shape.equals(boundShape)) {
      uploadCuSeqlens(layout, shape);
      boundLayout = layout;
      boundShape = shape;
      boundRows = null;
    }
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

  /** Brings times and labels, or the rows of modulations that are theirs. */
  private void condition(PackLayout layout, float[] t, long[] y, Shape shape)
      throws TensorRtException {
    int[] rows;
    if (table.isPresent()) {
      rows = table.get().rows(t, y);
    } else {
      uploadConditions(t, y);
      rows = new int[layout.images()];
      Arrays.setAll(rows, image -> image);
    }
    if (!Arrays.equals(rows, boundRows)) {
      uploadRows(layout, shape, rows);
      boundRows = rows;
    }
  }

  private void uploadConditions(float[] t, long[] y) throws TensorRtException {
    Binding times = bindings.get("t");
    times.host(t.length * Float.BYTES).asFloatBuffer().put(t);
    times.upload((long) t.length * Float.BYTES, stream);
    Binding labels = bindings.get("y");
    labels.host(y.length * Long.BYTES).asLongBuffer().put(y);
    labels.upload((long) y.length * Long.BYTES, stream);
  }

  /** Images beyond the pack's have no tokens, and tokens beyond it belong to none. */
  private void uploadCuSeqlens(PackLayout layout, Shape shape) throws TensorRtException {
    int bytes = (shape.images + 1) * Integer.BYTES;
    Binding cu = bindings.get("cu_seqlens");
    IntBuffer values = cu.host(bytes).asIntBuffer().put(layout.cuSeqlens());
    while (values.hasRemaining()) {
      values.put(layout.tokens());
    }
    cu.upload(bytes, stream);
  }

  private void uploadRows(PackLayout layout, Shape shape, int[] rows) throws TensorRtException {
    int bytes = shape.tokens * Integer.BYTES;
    Binding index = bindings.get(rowOfToken());
    IntBuffer values = index.host(bytes).asIntBuffer();
    for (int image : layout.imageIndex()) {
      values.put(rows[image]);
    }
    while (values.hasRemaining()) {
      values.put(rows[0]);
    }
    index.upload(bytes, stream);
  }

  private void run(Shape shape, PackLayout layout) throws TensorRtException {
    launch(shape);
    paddedTokens += shape.tokens - layout.tokens();
  }

  private void launch(Shape shape) throws TensorRtException {
    Bucket bucket = shape.bucket;
    recordings.called();
    CapturedForward recorded = graphs.get(shape);
    if (recorded != null) {
      recorded.launch(stream);
      return;
    }
    if (!shape.equals(shaped.get(bucket))) {
      shaped.remove(bucket);
      setShapes(bucket.context(), shape);
      shaped.put(bucket, shape);
    }
    enqueue(bucket.context());
    if (shape.tokens <= SMALL_TOKENS
        && !seen.add(shape)
        && recordings.on()
        && recording.add(shape)) {
      recorder.execute(() -> record(shape));
    }
  }

  /**
   * Records the graphs of all sizes that small packs of up to {@value #MANY_IMAGES} images are
   * rounded up to, which otherwise happens beside the work as they come: about half a second each,
   * in which other calls take longer. A server calls it before it takes requests.
   */
  @Override
  public int warmUp() {
    List<Future<?>> waited = new ArrayList<>();
    synchronized (this) {
      requireOpen();
      recordings.again();
      if (table.isEmpty() || !recordings.on()) {
        return graphs.size();
      }
      for (int images : new int[] {FEW_IMAGES, MANY_IMAGES}) {
        for (int tokens : smallSizes()) {
          Bucket bucket =
              buckets.stream().filter(one -> tokens <= one.tokens()).findFirst().orElseThrow();
          Shape shape = Shape.rounded(bucket, tokens, images);
          if (!graphs.containsKey(shape) && recording.add(shape)) {
            waited.add(recorder.submit(() -> record(shape)));
          }
        }
      }
    }
    for (Future<?> one : waited) {
      try {
        one.get();
      } catch (InterruptedException e) {
        Thread.currentThread().interrupt();
        break;
      } catch (ExecutionException e) {
        throw new IllegalStateException(e.getCause());
      }
    }
    return capturedShapes();
  }

  /** The steps of tokens, and the buckets that end between two of them. */
  private Set<Integer> smallSizes() {
    int most = Math.min(SMALL_TOKENS, mostTokens);
    Set<Integer> sizes = new TreeSet<>();
    for (int tokens = TOKENS_STEP; tokens <= most; tokens += TOKENS_STEP) {
      sizes.add(tokens);
    }
    buckets.stream().map(Bucket::tokens).filter(tokens -> tokens <= most).forEach(sizes::add);
    return sizes;
  }

  /** Records a size for the calls after this one; its context is made while others run. */
  private void record(Shape shape) {
    if (!records(shape)) {
      return;
    }
    IExecutionContext context = null;
    try {
      Cuda.check(cudart.cudaSetDevice(options.device), "device " + options.device);
      context = context(shape.bucket);
      synchronized (this) {
        if (open) {
          capture(shape, context);
          context = null; // the graph's now
          recordings.recorded();
        }
      }
    } catch (TensorRtException e) {
      synchronized (this) {
        recording.remove(shape);
        recordings.failed(e.getMessage());
        cudart.cudaStreamSynchronize(stream); // the context's first run may be under way
      }
    } finally {
      TensorRtPlan.close(context);
    }
  }

  private void capture(Shape shape, IExecutionContext context) throws TensorRtException {
    setShapes(context, shape);
    // TensorRT's work of the first run of a shape cannot be recorded. The kernels trust what tells
    // where images end and which row is a token's: there lies another pack's, or nothing yet.
    clear("cu_seqlens", (shape.images + 1L) * Integer.BYTES);
    clear(rowOfToken(), (long) shape.tokens * Integer.BYTES);
    enqueue(context);
    graphs.put(shape, CapturedForward.of(stream, context, FORWARD));
    recording.remove(shape);
    if (graphs.size() > MOST_GRAPHS) {
      Shape oldest = graphs.keySet().iterator().next();
      seen.remove(oldest);
      cudart.cudaStreamSynchronize(stream); // it may be running; a failure shows in the next call
      graphs.remove(oldest).close();
    }
  }

  /** Fills an input with zeros: tokens of no image, in the first row. */
  private void clear(String input, long bytes) throws TensorRtException {
    boundLayout = null; // the next pack brings its own
    Cuda.check(
        cudart.cudaMemsetAsync(bindings.get(input).device(), 0, bytes, stream),
        "clearing of " + input);
  }

  private void setShapes(IExecutionContext context, Shape shape) throws TensorRtException {
    long p = config.patchSize();
    shape(context, "x", shape.tokens, config.inChannels(), p, p);
    if (table.isEmpty()) { // else they are fixed
      shape(context, "t", shape.images);
      shape(context, "y", shape.images);
    }
    shape(context, "cu_seqlens", shape.images + 1L);
    shape(context, rowOfToken(), shape.tokens);
    shape(context, "rope_cos", shape.tokens, config.headDim());
    shape(context, "rope_sin", shape.tokens, config.headDim());
  }

  static void shape(IExecutionContext context, String name, long... dims) throws TensorRtException {
    try (Dims64 extents = new Dims64()) {
      extents.nbDims(dims.length);
      for (int i = 0; i < dims.length; i++) {
        extents.d(i, dims[i]);
      }
      require(context.setInputShape(name, extents), name + " of " + Arrays.toString(dims));
    }
  }

  private void enqueue(IExecutionContext context) throws TensorRtException {
    require(context.enqueueV3(stream), FORWARD);
  }

  private synchronized boolean isOpen() {
    return open;
  }

  /** Whether a size is still to be recorded; else it may be asked for again. */
  private synchronized boolean records(Shape shape) {
    if (open && recordings.on()) {
      return true;
    }
    recording.remove(shape);
    return false;
  }

  private void requireOpen() {
    if (!open) {
      throw new IllegalStateException("TensorRtEngine: used after close");
    }
  }

  @Override
  public void close() {
    synchronized (this) {
      if (!open) {
        return;
      }
      open = false;
    }
    recorder.shutdown(); // a graph that is being recorded is still waited for
    boolean interrupted = false;
    while (!recorder.isTerminated()) {
      try {
        recorder.awaitTermination(1, TimeUnit.MINUTES);
      } catch (InterruptedException e) {
        interrupted = true;
      }
    }
    if (interrupted) {
      Thread.currentThread().interrupt();
    }
    release();
  }

  private synchronized void release() {
    cudart.cudaSetDevice(options.device); // of this thread
    if (stream != null && !stream.isNull()) {
      cudart.cudaStreamSynchronize(stream);
    }
    graphs.values().forEach(CapturedForward::close);
    graphs.clear();
    packs.forEach(ProfiledPlan::close);
    bindings.values().forEach(Binding::close);
    table.ifPresent(ModulationTable::close);
    latents.ifPresent(ResidentLatents::close);
    Cuda.free(activations);
    Cuda.destroy(begun);
    Cuda.destroy(ended);
    Cuda.destroy(copied);
    Cuda.destroy(stream);
    plans.close();
  }
}
