package io.nit.core.bundle;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.JsonReason;
import io.nit.core.io.Sha256;
import io.nit.core.io.ShellWord;
import io.nit.core.io.TextFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.function.Function;
import java.util.regex.Pattern;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * What an engine was built from, on and for: the file {@code PLAN.json} beside a plan, written by
 * {@code nit-export engine}. A plan runs only where all of it fits; TensorRT itself would say less,
 * or nothing.
 *
 * <pre>{@code
 * {
 *   "format": "nit-engine", "version": 1,
 *   "plan": { "file": "engine-bf16.plan", "bytes": 123, "sha256": "..." },
 *   "model": { "sha256": "...", "config": { ... NitConfig ... } },      // of the bundle's ONNX file
 *   "precision": "BF16",
 *   "profiles": [ { "tokens": 512, "images": 512, "plan": "small" }, ... ], // without plan: main
 *   "tensorrt": "10.6.0", "cuda": "12.6",
 *   "gpu": { "name": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0" },
 *   "plugins": { "version": "0.1.0", "sha256": "..." },                 // absent where there are none
 *   "compatible": { "versions": true, "hardware": "ampere-plus" },      // absent where neither is
 *   "weights": "refittable",                                            // or stripped; absent: fixed
 *   "verification": [ { "against": "reference", "backend": "tensorrt", ... } ],
 *   "command": "nit-export engine {bundle} --precision bf16{output}{device} --overwrite",
 *   "provenance": { "tool": "nit-export 0.1.0", "seconds": 100, ... }
 * }
 * }</pre>
 *
 * <p>The plan of an autoencoder's half has {@code "part": "decoder"} or {@code "encoder"}, its
 * DcAeConfig as the model's config, and profiles {@code { "side": 512, "images": 1 }}; without
 * {@code part} it is a model's.
 *
 * <p>The command holds no path of the machine that built the engine: {@link Place} fills in what
 * stands in braces. A command without {@value #BUNDLE} is printed as it stands.
 *
 * @param plan name of the plan's file
 * @param planBytes its size
 * @param planSha256 its hash, lower-case hex
 * @param modelSha256 what the model is known by, see {@link #modelHash}
 * @param subject what it computes, and in which sizes
 * @param precision type of the arithmetic, a {@link io.nit.core.tensor.DType} name
 * @param builtOn where it was built, which is where it runs
 * @param traits where else it runs, and whether its weights can be exchanged
 * @param verification what was measured; may be empty
 * @param command the line that builds it again, with {@value #BUNDLE}, {@value #OUTPUT} and {@value
 *     #DEVICE} where those stand
 * @param provenance free-form
 */
public record EngineManifest(
    String plan,
    long planBytes,
    String planSha256,
    String modelSha256,
    EngineSubject subject,
    String precision,
    Host builtOn,
    Traits traits,
    ArrayNode verification,
    String command,
    ObjectNode provenance) {
  /** What follows the plan's name in the manifest's. */
  public static final String SUFFIX = ".json";

  /** What the name of a plan ends with. */
  public static final String PLAN_SUFFIX = ".plan";

  /** In a command: the folder of the bundle or exported autoencoder that the engine is of. */
  public static final String BUNDLE = "{bundle}";

  /** In a command: the option that names the engine, empty for the name and place it has anyway. */
  public static final String OUTPUT = "{output}";

  /** In a command: the option that names the GPU, empty for the first. */
  public static final String DEVICE = "{device}";

  /** The version that this code writes and reads. */
  public static final int VERSION = 1;

  private static final String FORMAT = "nit-engine";
  private static final int AMPERE = 8;

  /** The fast ones first. */
  private static final List<String> PRECISIONS = List.of("BF16", "F16", "F32");

  private static final Pattern VERSIONS = Pattern.compile("[0-9]{1,6}(\\.[0-9]{1,6})*");

  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);

  /**
   * A bucket of sizes.
   *
   * @param tokens the most tokens of a pack
   * @param images the most images of a pack
   * @param plan which of the file's plans it stands in
   */
  public record Profile(int tokens, int images, PackPlan plan) {
    /** Of the main plan. */
    public Profile(int tokens, int images) {
      this(tokens, images, PackPlan.MAIN);
    }
  }

  /** On which GPUs a plan runs. */
  public enum Hardware {
    /** On the model of GPU that it was built on. */
    SAME("same"),
    /** On every GPU of compute capability 8.0 or newer. */
    AMPERE_PLUS("ampere-plus");

    private final String key;

    Hardware(String key) {
      this.key = key;
    }

    /** The word in manifests. */
    public String key() {
      return key;
    }
  }

  /** What can be done with a plan's weights. */
  public enum Weights {
    /** They are part of the plan for good. */
    FIXED,
    /** They can be exchanged for those of another checkpoint of the same shape. */
    REFITTABLE,
    /** There are none: they are put in from a bundle before the plan can run. */
    STRIPPED;

    /** The word in manifests. */
    public String key() {
      return name().toLowerCase(Locale.ROOT);
    }
  }

  /**
   * What a plan can do beyond running where it was built.
   *
   * @param versionCompatible whether later minor versions of TensorRT run it
   * @param hardware which GPUs run it
   * @param weights what can be done with its weights
   */
  public record Traits(boolean versionCompatible, Hardware hardware, Weights weights) {
    /** For one GPU and version, with its weights. */
    public static final Traits NONE = new Traits(false, Hardware.SAME, Weights.FIXED);

    /** The same with other weights. */
    public Traits with(Weights other) {
      return new Traits(versionCompatible, hardware, other);
    }

    @Override
    public String toString() {
      return "version-compatible "
          + (versionCompatible ? "yes" : "no")
          + ", hardware "
          + hardware.key
          + ", weights "
          + weights.key();
    }
  }

  /**
   * What a plan depends on.
   *
   * @param tensorrt version of TensorRT
   * @param cuda version of the CUDA runtime
   * @param gpu the GPU's name
   * @param computeCapability the GPU's, for example 9.0
   * @param plugins the plugins' library, where the plan needs or the machine has one
   */
  public record Host(
      String tensorrt,
      String cuda,
      String gpu,
      String computeCapability,
      Optional<Plugins> plugins) {}

  /**
   * A plugin library.
   *
   * @param version of the project at its build
   * @param sha256 of the file
   */
  public record Plugins(String version, String sha256) {}

  /**
   * A field in which a plan and a machine differ.
   *
   * @param field its name in the manifest
   * @param expected what the plan was built with
   * @param found what there is
   */
  public record Mismatch(String field, String expected, String found) {
    @Override
    public String toString() {
      return field + ": expected " + expected + ", found " + found;
    }
  }

  /**
   * Where an engine is met.
   *
   * @param file the plan
   * @param bundle the folder of the bundle or exported autoencoder that it is of
   * @param device number of the GPU that is to run it
   */
  public record Place(Path file, Path bundle, int device) {
    /** Of a plan that lies in its bundle. */
    public static Place in(Path file, int device) {
      return new Place(file, file.toAbsolutePath().getParent(), device);
    }

    private String fill(String command, String standardName) {
      Path there = file.toAbsolutePath().normalize();
      boolean standard = there.equals(bundle.toAbsolutePath().normalize().resolve(standardName));
      return command
          .replace(OUTPUT, standard ? "" : " --output " + ShellWord.absolute(file))
          .replace(DEVICE, device == 0 ? "" : " --device " + device)
          .replace(BUNDLE, ShellWord.absolute(bundle));
    }
  }

  /**
   * Of a model's engine.
   *
   * @param config the model's shape
   * @param profiles the buckets, rising
   */
  public EngineManifest(
      String plan,
      long planBytes,
      String planSha256,
      String modelSha256,
      NitConfig config,
      String precision,
      List<Profile> profiles,
      Host builtOn,
      Traits traits,
      ArrayNode verification,
      String command,
      ObjectNode provenance) {
    this(
        plan,
        planBytes,
        planSha256,
        modelSha256,
        new EngineSubject.Model(config, profiles),
        precision,
        builtOn,
        traits,
        verification,
        command,
        provenance);
  }

  /**
   * The shape of a model's engine.
   *
   * @throws IllegalStateException if it is an autoencoder's
   */
  public NitConfig config() {
    return model().config();
  }

  /**
   * The buckets of a model's engine, rising.
   *
   * @throws IllegalStateException if it is an autoencoder's
   */
  public List<Profile> profiles() {
    return model().profiles();
  }

  /**
   * The plans of a model's engine that run packs, the main one first.
   *
   * @throws IllegalStateException if it is an autoencoder's
   */
  public List<PackPlan> packPlans() {
    return profiles().stream().map(Profile::plan).distinct().sorted().toList();
  }

  private EngineSubject.Model model() {
    if (subject instanceof EngineSubject.Model model) {
      return model;
    }
    throw new IllegalStateException(
        plan + ": expected a model's engine, found part " + subject.part().key());
  }

  /**
   * What a bundle's model is known by: the hash of its ONNX file and, behind a plus sign, that of
   * its weights' own file; empty if the bundle does not tell.
   */
  public static Optional<String> modelHash(Bundle bundle) {
    return hashOf(bundle.files(), bundle.modelFile());
  }

  /**
   * What an ONNX file is known by: its hash and, behind a plus sign, that of its weights' own file;
   * empty if it is not among the files.
   *
   * @param files the files of a bundle or an exported autoencoder
   * @param name the ONNX file's
   */
  public static Optional<String> hashOf(List<Bundle.FileEntry> files, String name) {
    List<String> names = List.of(name, name + ".data");
    String hashes =
        files.stream()
            .filter(file -> names.contains(file.name()))
            .sorted(Comparator.comparing(Bundle.FileEntry::name))
            .map(Bundle.FileEntry::sha256)
            .collect(Collectors.joining("+"));
    return hashes.isEmpty() ? Optional.empty() : Optional.of(hashes);
  }

  /**
   * The manifest of the same engine with other weights in it, unverified.
   *
   * @param file the plan, in any folder
   * @param hash its hash
   */
  public EngineManifest withPlan(Path file, String hash, Weights weights) throws IOException {
    return new EngineManifest(
        file.getFileName().toString(),
        Files.size(file),
        hash,
        modelSha256,
        subject,
        precision,
        builtOn,
        traits.with(weights),
        JSON.createArrayNode(),
        command,
        provenance);
  }

  /** The same with another line that builds it again. */
  public EngineManifest withCommand(String line) {
    return new EngineManifest(
        plan,
        planBytes,
        planSha256,
        modelSha256,
        subject,
        precision,
        builtOn,
        traits,
        verification,
        line,
        provenance);
  }

  /** The manifest's file of a plan. */
  public static Path fileOf(Path plan) {
    return plan.resolveSibling(plan.getFileName() + SUFFIX);
  }

  /**
   * A plan of a folder that has a manifest.
   *
   * @param plan the plan
   * @param manifest its manifest; empty if that cannot be read
   * @param problem why it cannot be read, naming its file; empty if it can
   */
  public record Found(Path plan, Optional<EngineManifest> manifest, String problem) {
    private int preference() {
      return manifest.map(there -> PRECISIONS.indexOf(there.precision)).orElse(PRECISIONS.size());
    }
  }

  /**
   * All plans of a folder that have a manifest, the preferred precision first: bf16, f16, f32, then
   * those whose manifest cannot be read; and by name.
   *
   * @throws IOException if the folder cannot be read
   */
  public static List<Found> allIn(Path folder) throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    try (Stream<Path> files = Files.list(folder)) {
      return files
          .filter(file -> file.getFileName().toString().endsWith(PLAN_SUFFIX))
          .filter(file -> Files.isRegularFile(fileOf(file)))
          .sorted()
          .map(EngineManifest::found)
          .sorted(Comparator.comparingInt(Found::preference))
          .toList();
    }
  }

  private static Found found(Path plan) {
    try {
      return new Found(plan, Optional.of(read(plan)), "");
    } catch (IOException e) {
      String message = String.valueOf(e.getMessage());
      String file = fileOf(plan).toString(); // a failure to read it may tell the file alone
      return new Found(
          plan,
          Optional.empty(),
          message.equals(file) ? file + ": " + e.getClass().getSimpleName() : message);
    }
  }

  /**
   * The plans of a folder that compute a part, in the order of {@link #allIn}; without those whose
   * manifest cannot be read.
   *
   * @throws IOException if the folder cannot be read
   */
  public static List<Path> plansIn(Path folder, EnginePart part) throws IOException {
    return allIn(folder).stream()
        .filter(found -> found.manifest.map(there -> there.subject.part() == part).orElse(false))
        .map(Found::plan)
        .toList();
  }

  /**
   * Every field in which a machine differs from the one that the plan was built on; empty if it
   * runs there.
   *
   * @param folder where the plan lies, whose size is compared
   * @param model hash of the ONNX file that is to be run; empty if that is not known
   * @throws IOException if the plan's size cannot be read
   */
  public List<Mismatch> mismatches(Host host, Path folder, Optional<String> model)
      throws IOException {
    List<Mismatch> all = new ArrayList<>();
    compareVersions(all, host);
    compareHardware(all, host);
    if (builtOn.plugins.isPresent()) {
      compare(
          all,
          "plugins.version",
          builtOn.plugins.get().version,
          host.plugins.map(Plugins::version).orElse("none"));
      compare(
          all,
          "plugins.sha256",
          builtOn.plugins.get().sha256,
          host.plugins.map(Plugins::sha256).orElse("none"));
    }
    model.ifPresent(hash -> compare(all, "model.sha256", modelSha256, hash));
    Path file = folder.resolve(plan);
    String bytes = Files.isRegularFile(file) ? Long.toString(Files.size(file)) : "no file";
    compare(all, "plan.bytes", Long.toString(planBytes), bytes);
    return all;
  }

  private void compareVersions(List<Mismatch> all, Host host) {
    if (!traits.versionCompatible) {
      compare(all, "tensorrt", builtOn.tensorrt, host.tensorrt);
      compare(all, "cuda", builtOn.cuda, host.cuda);
      return;
    }
    int[] built = numbers(builtOn.tensorrt);
    int[] found = numbers(host.tensorrt);
    if (found[0] != built[0] || Arrays.compare(found, built) < 0) {
      all.add(
          new Mismatch(
              "tensorrt", builtOn.tensorrt + " or a later " + built[0] + ".x", host.tensorrt));
    }
    if (numbers(builtOn.cuda)[0] != numbers(host.cuda)[0]) {
      all.add(new Mismatch("cuda", numbers(builtOn.cuda)[0] + ".x", host.cuda));
    }
  }

  private void compareHardware(List<Mismatch> all, Host host) {
    if (traits.hardware == Hardware.SAME) {
      compare(all, "gpu.name", builtOn.gpu, host.gpu);
      compare(all, "gpu.compute_capability", builtOn.computeCapability, host.computeCapability);
    } else if (numbers(host.computeCapability)[0] < AMPERE) {
      all.add(
          new Mismatch("gpu.compute_capability", AMPERE + ".0 or newer", host.computeCapability));
    }
  }

  /** The numbers of a version; one that is none counts as before all others. */
  private static int[] numbers(String version) {
    return VERSIONS.matcher(version).matches()
        ? Arrays.stream(version.split("\\.")).mapToInt(Integer::parseInt).toArray()
        : new int[] {-1};
  }

  /**
   * Why a plan that fits cannot run yet: it holds no weights; empty if it holds them.
   *
   * @param file the plan
   * @param bundle the bundle that it is to run
   */
  public Optional<String> needsWeights(Path file, Path bundle) {
    return traits.weights == Weights.STRIPPED
        ? Optional.of(
            plan
                + " holds no weights (--weight-stripped); put them in with: nit-export refit "
                + ShellWord.of(file.toString())
                + " "
                + ShellWord.of(bundle.toString()))
        : Optional.empty();
  }

  /** Every way in which this engine is not what is asked for; empty if it is. */
  public List<Mismatch> differences(
      String wantedPrecision, EngineSubject wanted, Traits wantedTraits) {
    List<Mismatch> all = new ArrayList<>();
    compare(all, "options", traits.toString(), wantedTraits.toString());
    compare(all, "part", subject.part().key(), wanted.part().key());
    compare(all, "precision", precision, wantedPrecision);
    compare(all, "profiles", subject.sizes(), wanted.sizes());
    return all;
  }

  private static void compare(List<Mismatch> all, String field, String expected, String found) {
    if (!expected.equals(found)) {
      all.add(new Mismatch(field, expected, found));
    }
  }

  /**
   * Whether the plan's file is not the one that this was written for: hashes all of it, which takes
   * seconds for gigabytes.
   *
   * @param folder where the plan lies
   * @return the difference; empty if it is that file
   * @throws IOException if it cannot be read
   */
  public Optional<Mismatch> planDifference(Path folder) throws IOException {
    List<Mismatch> all = new ArrayList<>();
    Path file = folder.resolve(plan);
    compare(
        all, "plan.sha256", planSha256, Files.isRegularFile(file) ? Sha256.of(file) : "no file");
    return all.stream().findFirst();
  }

  /**
   * Every way in which an opened plan is not what this says; empty if it is.
   *
   * @param foundPrecision type of its arithmetic; empty if it does not tell
   * @param found what it computes, and in which sizes
   */
  public List<Mismatch> differencesOpened(Optional<String> foundPrecision, EngineSubject found) {
    List<Mismatch> all = new ArrayList<>();
    foundPrecision.ifPresent(type -> compare(all, "precision", precision, type));
    compare(all, "profiles", subject.largest(), found.largest());
    return all;
  }

  /**
   * The name that an engine has in its bundle unless another is asked for.
   *
   * @param precision a {@link io.nit.core.tensor.DType} name
   */
  public static String standardName(EnginePart part, String precision, Weights weights) {
    return part.planPrefix()
        + "-"
        + precision.toLowerCase(Locale.ROOT)
        + (weights == Weights.STRIPPED ? "-stripped" : "")
        + PLAN_SUFFIX;
  }

  /** The differences as a user reads them, with the line that builds the engine again. */
  public String refusal(List<Mismatch> mismatches, Place place) {
    return plan
        + " does not fit: "
        + mismatches.stream().map(Mismatch::toString).collect(Collectors.joining("; "))
        + ". "
        + again(place);
  }

  /** The line that builds the engine again, as a user reads it. */
  public String again(Place place) {
    return "Build it again with: " + command(place);
  }

  /** The line that builds the engine again where it is met. */
  public String command(Place place) {
    return command.contains(BUNDLE)
        ? place.fill(command, standardName(subject.part(), precision, traits.weights))
        : command;
  }

  /**
   * Reads the manifest of a plan.
   *
   * @throws NoSuchFileException if there is none
   * @throws IOException if it is no manifest of this version; names file and field
   */
  public static EngineManifest read(Path plan) throws IOException {
    Path file = fileOf(plan);
    if (!Files.isRegularFile(file)) {
      throw Files.exists(plan)
          ? new NoSuchFileException(file.toString(), null, "expected the manifest of an engine")
          : new NoSuchFileException(plan.toString(), null, "expected an engine");
    }
    TextFile.requireSmall(file);
    JsonNode root;
    try {
      root = JSON.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw new IOException(file + ": expected JSON, found: " + JsonReason.of(e), e);
    }
    try {
      return new Reader(file, root).manifest();
    } catch (IllegalArgumentException e) {
      throw new IOException(e.getMessage(), e);
    }
  }

  private record Reader(Path file, JsonNode root) {
    EngineManifest manifest() throws IOException {
      String format = text(root, "format");
      if (!format.equals(FORMAT) || root.path("version").asInt() != VERSION) {
        throw new IOException(
            file
                + ": expected format "
                + FORMAT
                + " version "
                + VERSION
                + ", found "
                + format
                + " version "
                + root.path("version"));
      }
      JsonNode plan = object(root, "plan");
      JsonNode model = object(root, "model");
      JsonNode gpu = object(root, "gpu");
      Optional<Plugins> plugins = Optional.empty();
      if (root.has("plugins")) {
        JsonNode node = object(root, "plugins");
        plugins = Optional.of(new Plugins(text(node, "version"), text(node, "sha256")));
      }
      String name = text(plan, "file");
      if (name.contains("/") || name.contains("\\")) {
        throw new IOException(file + ": plan.file: expected a name, found " + name);
      }
      return new EngineManifest(
          name,
          plan.path("bytes").asLong(-1),
          text(plan, "sha256"),
          text(model, "sha256"),
          subject(model),
          one(PRECISIONS, Function.identity(), text(root, "precision"), "precision"),
          new Host(
              text(root, "tensorrt"),
              text(root, "cuda"),
              text(gpu, "name"),
              text(gpu, "compute_capability"),
              plugins),
          traits(),
          root.path("verification").isArray()
              ? (ArrayNode) root.path("verification")
              : JSON.createArrayNode(),
          text(root, "command"),
          root.path("provenance").isObject()
              ? (ObjectNode) root.path("provenance")
              : JSON.createObjectNode());
    }

    private EngineSubject subject(JsonNode model) throws IOException {
      EnginePart part =
          root.has("part")
              ? EnginePart.parse(text(root, "part"), file + ": part")
              : EnginePart.MODEL;
      JsonNode config = object(model, "config");
      if (part == EnginePart.MODEL) {
        List<Profile> profiles = new ArrayList<>();
        for (JsonNode profile : object(root, "profiles")) {
          profiles.add(
              new Profile(
                  number(profile, "tokens"), number(profile, "images"), plan(profile, file)));
        }
        return new EngineSubject.Model(
            NitConfig.fromNode(config, file + ": model.config", PositionOrder.AXIAL), profiles);
      }
      List<EngineSubject.PictureProfile> profiles = new ArrayList<>();
      for (JsonNode profile : object(root, "profiles")) {
        profiles.add(
            new EngineSubject.PictureProfile(number(profile, "side"), number(profile, "images")));
      }
      return new EngineSubject.Autoencoder(
          part, DcAeConfig.fromNode(config, file + ": model.config"), profiles);
    }

    private static PackPlan plan(JsonNode profile, Path file) {
      return PackPlan.parse(
          profile.path("plan").asText(PackPlan.MAIN.key()), file + ": profiles.plan");
    }

    private Traits traits() throws IOException {
      JsonNode compatible = root.path("compatible");
      String hardware = compatible.path("hardware").asText(Hardware.SAME.key);
      String weights = root.path("weights").asText(Weights.FIXED.key());
      return new Traits(
          compatible.path("versions").asBoolean(),
          one(List.of(Hardware.values()), Hardware::key, hardware, "compatible.hardware"),
          one(List.of(Weights.values()), Weights::key, weights, "weights"));
    }

    private <E> E one(List<E> all, Function<E, String> key, String word, String field)
        throws IOException {
      for (E value : all) {
        if (key.apply(value).equals(word)) {
          return value;
        }
      }
      throw new IOException(
          file
              + ": "
              + field
              + ": expected one of "
              + all.stream().map(key).collect(Collectors.joining(", "))
              + ", found "
              + word);
    }

    private JsonNode object(JsonNode node, String key) throws IOException {
      JsonNode value = node.path(key);
      if (!value.isContainerNode()) {
        throw new IOException(file + ": " + key + ": expected an object or list, found " + value);
      }
      return value;
    }

    private String text(JsonNode node, String key) throws IOException {
      JsonNode value = node.path(key);
      if (!value.isTextual()) {
        throw new IOException(file + ": " + key + ": expected a string, found " + value);
      }
      return value.asText();
    }

    private int number(JsonNode node, String key) throws IOException {
      JsonNode value = node.path(key);
      if (!value.isInt() || value.asInt() < 1) {
        throw new IOException(file + ": " + key + ": expected 1 or more, found " + value);
      }
      return value.asInt();
    }
  }

  /**
   * Writes the manifest beside its plan.
   *
   * @throws IOException if it cannot be written; an old one is then as it was
   */
  public void write(Path folder) throws IOException {
    ObjectNode root = JSON.createObjectNode();
    root.put("format", FORMAT).put("version", VERSION);
    root.putObject("plan").put("file", plan).put("bytes", planBytes).put("sha256", planSha256);
    ObjectNode model = root.putObject("model").put("sha256", modelSha256);
    root.put("precision", precision);
    ArrayNode sizes = root.putArray("profiles");
    if (subject instanceof EngineSubject.Autoencoder half) {
      root.put("part", half.part().key());
      model.set("config", half.config().toNode());
      for (EngineSubject.PictureProfile profile : half.profiles()) {
        sizes.addObject().put("side", profile.side()).put("images", profile.images());
      }
    } else {
      model.set("config", config().toNode());
      for (Profile profile : profiles()) {
        ObjectNode size =
            sizes.addObject().put("tokens", profile.tokens).put("images", profile.images);
        if (profile.plan != PackPlan.MAIN) {
          size.put("plan", profile.plan.key());
        }
      }
    }
    root.put("tensorrt", builtOn.tensorrt).put("cuda", builtOn.cuda);
    root.putObject("gpu")
        .put("name", builtOn.gpu)
        .put("compute_capability", builtOn.computeCapability);
    builtOn.plugins.ifPresent(
        library ->
            root.putObject("plugins")
                .put("version", library.version)
                .put("sha256", library.sha256));
    if (traits.versionCompatible || traits.hardware != Hardware.SAME) {
      root.putObject("compatible")
          .put("versions", traits.versionCompatible)
          .put("hardware", traits.hardware.key);
    }
    if (traits.weights != Weights.FIXED) {
      root.put("weights", traits.weights.key());
    }
    root.set("verification", verification);
    root.put("command", command);
    root.set("provenance", provenance);
    AtomicFile.writeString(
        fileOf(folder.resolve(plan)),
        JSON.writerWithDefaultPrettyPrinter().writeValueAsString(root) + "\n");
  }
}
