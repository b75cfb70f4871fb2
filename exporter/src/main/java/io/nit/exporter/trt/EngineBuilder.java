package io.nit.exporter.trt;

import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Hardware;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.cuda.BuildMonitor;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.io.AtomicFile;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Shape;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.HostMemory;
import io.nit.core.trt.NativeOwners;
import io.nit.core.trt.PlanFile;
import io.nit.core.trt.PlanLayers;
import io.nit.core.trt.TensorRt;
import io.nit.core.trt.TensorRtException;
import io.nit.core.trt.TensorRtLogger;
import io.nit.core.trt.TensorRtPlan;
import io.nit.core.trt.TensorRtPlans;
import io.nit.exporter.onnx.OnnxFile;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Optional;
import java.util.StringJoiner;
import java.util.function.Consumer;
import java.util.stream.Collectors;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.global.nvinfer;
import org.bytedeco.tensorrt.global.nvonnxparser;
import org.bytedeco.tensorrt.nvinfer.Dims64;
import org.bytedeco.tensorrt.nvinfer.IBuilder;
import org.bytedeco.tensorrt.nvinfer.IBuilderConfig;
import org.bytedeco.tensorrt.nvinfer.IHostMemory;
import org.bytedeco.tensorrt.nvinfer.ILogger;
import org.bytedeco.tensorrt.nvinfer.INetworkDefinition;
import org.bytedeco.tensorrt.nvinfer.IOptimizationProfile;
import org.bytedeco.tensorrt.nvinfer.ITimingCache;
import org.bytedeco.tensorrt.nvonnxparser.IParser;
import org.bytedeco.tensorrt.nvonnxparser.IParserError;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Builds a plan from a model: a strongly typed network with one profile for each bucket of tokens.
 * Only tokens and images are dynamic, so that one engine serves every size of picture. The finished
 * plan is opened again and must hold every plugin that the model calls for.
 *
 * <p>Lines of progress tell the share of TensorRT's steps that is done where the plugin library is
 * there, whose {@link BuildMonitor} TensorRT calls; without it the time that has passed.
 */
public final class EngineBuilder {
  /** What to do where TensorRT has no kernels for other GPUs. */
  private static final String OTHER_THAN_HARDWARE_COMPATIBLE =
      "--hardware-compatible: another --precision, or an engine for each GPU without it, may do";

  private static final Logger LOG = LoggerFactory.getLogger(EngineBuilder.class);
  private static final int CHUNK = 1 << 28;

  private final TrtNetwork model;
  private final Optional<PluginLibrary> plugins;
  private final BuildOptions options;
  private final Consumer<String> progress;
  private final TensorRtLogger logger;

  private IBuilder builder;
  private INetworkDefinition network;
  private IBuilderConfig config;
  private ITimingCache timings;
  private boolean cacheWasRead;
  private Optional<BuildMonitor> monitor = Optional.empty();

  private EngineBuilder(
      TrtNetwork model,
      Optional<PluginLibrary> plugins,
      BuildOptions options,
      Consumer<String> progress) {
    this.model = model;
    this.plugins = plugins;
    this.options = options;
    this.progress = progress;
    this.logger = TensorRtLogger.shared();
  }

  /**
   * A finished plan.
   *
   * @param plan its file
   * @param bytes its size
   * @param gpu the GPU that it was built on
   * @param layers what each of its plans is made of
   * @param buildSeconds time that TensorRT took
   * @param openSeconds time to open the plans
   */
  public record Built(
      Path plan,
      long bytes,
      Gpu gpu,
      List<PlanLayers> layers,
      double buildSeconds,
      double openSeconds) {}

  /**
   * Builds.
   *
   * @param plugins the library of the plugins; needed for a model that holds any
   * @param plan the file to make or replace
   * @param progress takes a line now and then, from other threads too
   * @throws IllegalArgumentException if the model holds plugins and there is no library
   * @throws TensorRtException if TensorRT or a GPU is not there, TensorRT does not take the model,
   *     or a plugin was not taken
   * @throws IOException if a file cannot be read or written; {@code plan} is then as it was
   */
  public static Built build(
      TrtNetwork model,
      Optional<PluginLibrary> plugins,
      BuildOptions options,
      Path plan,
      Consumer<String> progress)
      throws IOException, TensorRtException {
    if (model.holdsPlugins() && plugins.isEmpty()) {
      throw new IllegalArgumentException(
          "an engine in " + model.precision() + ": expected the plugin library, found none");
    }
    Optional<String> refusal = TensorRt.refusal(options.device());
    if (refusal.isPresent()) {
      throw new TensorRtException("no engine can be built here: " + refusal.get());
    }
    return new EngineBuilder(model, plugins, options, progress).run(plan.toAbsolutePath());
  }

  private Built run(Path plan) throws IOException, TensorRtException {
    Gpu gpu = Gpu.open(options.device());
    if (plugins.isPresent()) {
      TensorRtPlan.requireArchitecture(plugins.get(), gpu);
      requirePortable(plugins.get(), options.traits());
    }
    progress.accept("TensorRT " + TensorRt.version() + " on " + gpu);
    if (options.traits().versionCompatible()) {
      progress.accept("lean runtime " + LeanRuntime.load(TensorRt.version()));
    }
    Files.createDirectories(plan.getParent());
    List<Path> temporary = new ArrayList<>();
    try {
      long start = System.nanoTime();
      createBuilder();
      for (int i = 0; i < model.files().size(); i++) {
        serialize(i, temporaryFile(plan, temporary));
      }
      NativeOwners.close(builder); // its memory is the opening's
      if (temporary.size() > 1) {
        PlanFile.join(List.copyOf(temporary), temporaryFile(plan, temporary));
      }
      final double buildSeconds = seconds(start);
      start = System.nanoTime();
      Path whole = temporary.get(temporary.size() - 1);
      try (TensorRtPlans opened =
          TensorRtPlans.open(
              PlanFile.read(whole),
              model.holdsPlugins() ? plugins : Optional.empty(),
              options.device(),
              options.traits().versionCompatible())) {
        final double openSeconds = seconds(start);
        List<PlanLayers> layers = new ArrayList<>();
        for (int i = 0; i < opened.plans().size(); i++) {
          layers.add(opened.plans().get(i).layers());
          layers.get(i).requirePlugins(model.plugins(i));
        }
        long bytes = Files.size(whole);
        Files.move(
            whole, plan, StandardCopyOption.ATOMIC_MOVE, StandardCopyOption.REPLACE_EXISTING);
        return new Built(plan, bytes, gpu, layers, buildSeconds, openSeconds);
      }
    } finally {
      NativeOwners.close(builder);
      monitor.ifPresent(BuildMonitor::close);
      for (Path file : temporary) {
        Files.deleteIfExists(file);
      }
    }
  }

  /** One builder for all plans: TensorRT takes about 7 s to make one. */
  private void createBuilder() throws TensorRtException {
    logger.begin();
    builder =
        required(NativeOwners.owned(nvinfer.createInferBuilder(logger)), "TensorRT's builder");
    if (model.holdsPlugins()) {
      String library = plugins.orElseThrow().file().toString();
      required(builder.getPluginRegistry().loadLibrary(library), "library " + library);
    }
    monitor = openMonitor();
  }

  /** A build without it tells less, and is as good. */
  private static Optional<BuildMonitor> openMonitor() {
    try {
      return Optional.of(BuildMonitor.open());
    } catch (IOException e) {
      LOG.debug("no share of the build will be told: {}", e.getMessage());
      return Optional.empty();
    }
  }

  /** Refuses a library whose kernels end before the GPUs that a plan is built for. */
  static void requirePortable(PluginLibrary plugins, Traits traits) throws TensorRtException {
    if (traits.hardware() == Hardware.AMPERE_PLUS && plugins.architectureFor(8, 0).isEmpty()) {
      throw new TensorRtException(
          "--hardware-compatible: expected our kernels for sm_80 and newer, found "
              + String.join(", ", plugins.architectures())
              + " in "
              + plugins.file()
              + "; a build of plugins-trt without -Dnit.architectures holds all");
    }
  }

  private static Path temporaryFile(Path plan, List<Path> all) {
    String name =
        "." + plan.getFileName() + "-" + all.size() + ".tmp-" + ProcessHandle.current().pid();
    all.add(plan.resolveSibling(name));
    return all.get(all.size() - 1);
  }

  private static double seconds(long since) {
    return (System.nanoTime() - since) / 1e9;
  }

  private void serialize(int number, Path target) throws IOException, TensorRtException {
    OnnxFile file = model.files().get(number);
    logger.begin();
    IHostMemory plan = null;
    try {
      List<InputSizes> profiles = model.profiles(number, options);
      progress.accept(
          "plan "
              + (number + 1)
              + " of "
              + model.files().size()
              + ": "
              + profiles.stream().map(InputSizes::name).collect(Collectors.joining(", ")));
      parse(file.model().toAbsolutePath().toString());
      markWeights(file);
      config = required(NativeOwners.owned(builder.createBuilderConfig()), "builder config");
      configure();
      for (InputSizes sizes : profiles) {
        addProfile(sizes);
      }
      plan = timed(profiles.size());
      write(plan, target);
    } finally {
      NativeOwners.close(plan);
      NativeOwners.close(config);
      NativeOwners.close(timings);
      timings = null;
      NativeOwners.close(network);
    }
  }

  private <P extends Pointer> P required(P object, String what) throws TensorRtException {
    if (object == null || object.isNull()) {
      throw new TensorRtException(what + ": TensorRT refused: " + logger.errors());
    }
    return object;
  }

  private void parse(String file) throws TensorRtException {
    int stronglyTyped = 1 << nvinfer.NetworkDefinitionCreationFlag.kSTRONGLY_TYPED.value;
    network =
        required(NativeOwners.owned(builder.createNetworkV2(stronglyTyped)), "network definition");
    // Keeps the weights that the network refers to, and stays until the process ends: see
    // NativeOwners.
    IParser parser = required(nvonnxparser.createParser(network, logger), "ONNX parser");
    if (!parser.parseFromFile(file, ILogger.Severity.kWARNING.value)) {
      StringJoiner errors = new StringJoiner("; ");
      for (int i = 0; i < parser.getNbErrors(); i++) {
        IParserError error = parser.getError(i);
        errors.add(
            error.desc()
                + " (node "
                + error.node()
                + " "
                + error.nodeName()
                + ", operator "
                + error.nodeOperator()
                + ")");
      }
      throw new TensorRtException(
          file + ": TensorRT's parser: " + errors + "; log: " + logger.errors());
    }
    progress.accept(
        "network of "
            + network.getNbLayers()
            + " layers, "
            + network.getNbInputs()
            + " inputs, "
            + model.precision().name().toLowerCase(Locale.ROOT));
  }

  /** Leaves the checkpoint's weights open to a refit; the graph's constants are folded as ever. */
  private void markWeights(OnnxFile file) throws IOException, TensorRtException {
    if (options.traits().weights() == EngineManifest.Weights.FIXED) {
      return;
    }
    StringJoiner refused = new StringJoiner(", ");
    int count = 0;
    try (OnnxWeights weights = OnnxWeights.open(file.model())) {
      for (String name : weights.specs().keySet()) {
        count++;
        if (!network.markWeightsRefittable(name)) {
          refused.add(name);
        }
      }
    }
    if (refused.length() > 0) {
      throw new TensorRtException(
          "weights that TensorRT cannot exchange later: " + refused + "; " + logger.errors());
    }
    progress.accept(count + " weights can be exchanged without a build");
  }

  private void configure() throws IOException, TensorRtException {
    config.setMemoryPoolLimit(nvinfer.MemoryPoolType.kWORKSPACE, options.workspaceBytes());
    config.setBuilderOptimizationLevel(options.optimizationLevel());
    // One stream. TensorRT else puts the modulations beside the blocks, and each block then waits
    // for events that take longer than what they hide (tests/bench/RESULTS.md).
    config.setMaxAuxStreams(0);
    // The inspector can then prove which layers are plugins; it costs no speed.
    config.setProfilingVerbosity(nvinfer.ProfilingVerbosity.kDETAILED);
    if (model.precision() == DType.F32) {
      config.clearFlag(nvinfer.BuilderFlag.kTF32); // true single precision
    }
    monitor.ifPresent(m -> config.setProgressMonitor(new MonitorView(m)));
    configureTraits();
    readTimingCache();
  }

  private void configureTraits() {
    Traits traits = options.traits();
    if (traits.hardware() == Hardware.AMPERE_PLUS) {
      config.setHardwareCompatibilityLevel(nvinfer.HardwareCompatibilityLevel.kAMPERE_PLUS);
    }
    if (traits.versionCompatible()) {
      config.setFlag(nvinfer.BuilderFlag.kVERSION_COMPATIBLE);
    }
    if (traits.weights() != EngineManifest.Weights.FIXED) {
      config.setFlag(nvinfer.BuilderFlag.kREFIT_INDIVIDUAL);
    }
    if (traits.weights() == EngineManifest.Weights.STRIPPED) {
      config.setFlag(nvinfer.BuilderFlag.kSTRIP_PLAN);
    }
  }

  private void addProfile(InputSizes sizes) throws TensorRtException {
    IOptimizationProfile profile =
        required(builder.createOptimizationProfile(), "optimization profile");
    for (Map.Entry<String, InputSizes.Range> input : sizes.inputs().entrySet()) {
      InputSizes.Range range = input.getValue();
      dimensions(profile, input.getKey(), nvinfer.OptProfileSelector.kMIN, range.least());
      dimensions(profile, input.getKey(), nvinfer.OptProfileSelector.kOPT, range.typical());
      dimensions(profile, input.getKey(), nvinfer.OptProfileSelector.kMAX, range.most());
    }
    if (!profile.isValid() || config.addOptimizationProfile(profile) < 0) {
      throw new TensorRtException(
          "profile of " + sizes.name() + ": TensorRT refused: " + logger.errors());
    }
  }

  private void dimensions(
      IOptimizationProfile profile, String input, nvinfer.OptProfileSelector end, Shape shape)
      throws TensorRtException {
    try (Dims64 dims = new Dims64()) {
      dims.nbDims(shape.rank());
      for (int i = 0; i < shape.rank(); i++) {
        dims.d(i, shape.dim(i));
      }
      if (!profile.setDimensions(input, end, dims)) {
        throw new TensorRtException(
            "profile: " + input + " of " + shape + " refused: " + logger.errors());
      }
    }
  }

  private void readTimingCache() throws IOException {
    if (options.timingCache().isEmpty()) {
      return;
    }
    Path file = options.timingCache().get();
    byte[] bytes = Files.isRegularFile(file) ? Files.readAllBytes(file) : new byte[0];
    if (bytes.length > 0 && setTimingCache(bytes)) {
      progress.accept("timing cache of " + bytes.length + " bytes from " + file);
      return;
    }
    if (bytes.length > 0) {
      LOG.warn(
          "{}: not a timing cache of this GPU and TensorRT, made anew: {}", file, logger.errors());
    }
    setTimingCache(new byte[0]);
  }

  private boolean setTimingCache(byte[] bytes) {
    try (BytePointer data = new BytePointer(Math.max(1, bytes.length))) {
      data.put(bytes, 0, bytes.length);
      ITimingCache made = NativeOwners.owned(config.createTimingCache(data, bytes.length));
      cacheWasRead = bytes.length > 0;
      if (made == null || !config.setTimingCache(made, false)) {
        NativeOwners.close(made); // the config keeps the one before
        return false;
      }
      NativeOwners.close(timings);
      timings = made;
      return true;
    }
  }

  private IHostMemory timed(int profiles) throws IOException, TensorRtException {
    IHostMemory plan;
    double seconds;
    try (BuildClock clock = BuildClock.start(monitor, profiles, progress)) {
      plan = serialized();
      seconds = clock.seconds();
    }
    progress.accept(
        String.format(Locale.ROOT, "built in %.1f s, %d MiB", seconds, plan.size() >> 20));
    writeTimingCache();
    return plan;
  }

  /**
   * Builds, and builds again without the timing cache where that was read: it may name kernels that
   * do not fit this network's types or its hardware level.
   */
  private IHostMemory serialized() throws TensorRtException {
    IHostMemory plan = NativeOwners.owned(builder.buildSerializedNetwork(network, config));
    if (plan == null && cacheWasRead) {
      progress.accept("no engine with the timing cache, once more without: " + logger.errors());
      setTimingCache(new byte[0]);
      plan = NativeOwners.owned(builder.buildSerializedNetwork(network, config));
    }
    if (plan == null) {
      throw new TensorRtException(
          "build of an engine: TensorRT refused: " + logger.errors() + elsewise());
    }
    return plan;
  }

  private String elsewise() {
    return options.traits().hardware() == Hardware.AMPERE_PLUS
        ? " (" + OTHER_THAN_HARDWARE_COMPATIBLE + ")"
        : "";
  }

  private void writeTimingCache() throws IOException {
    if (timings == null || options.timingCache().isEmpty()) {
      return;
    }
    IHostMemory bytes = NativeOwners.owned(timings.serialize());
    if (bytes == null) {
      LOG.warn("TensorRT gave no timing cache: {}", logger.errors());
      return;
    }
    try {
      AtomicFile.write(options.timingCache().get(), temporary -> write(bytes, temporary));
    } finally {
      NativeOwners.close(bytes);
    }
  }

  static void write(IHostMemory memory, Path target) throws IOException {
    long bytes = memory.size();
    Pointer data = memory.data();
    try (FileChannel out =
        FileChannel.open(target, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
      for (long at = 0; at < bytes; at += CHUNK) {
        ByteBuffer chunk = HostMemory.chunk(data, at, Math.min(CHUNK, bytes - at));
        while (chunk.hasRemaining()) {
          out.write(chunk);
        }
      }
      out.force(true);
    }
  }
}
