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
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
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
 *   "profiles": [ { "tokens": 512, "images": 512 }, ... ],
 *   "tensorrt": "10.6.0", "cuda": "12.6",
 *   "gpu": { "name": "NVIDIA H100 80GB HBM3", "compute_capability": "9.0" },
 *   "plugins": { "version": "0.1.0", "sha256": "..." },                 // absent where there are none
 *   "verification": [ { "against": "reference", "backend": "tensorrt", ... } ],
 *   "command": "nit-export engine bundles/xl --precision bf16",
 *   "provenance": { "tool": "nit-export 0.1.0", "seconds": 100, ... }
 * }
 * }</pre>
 *
 * <p>The plan of an autoencoder's half has {@code "part": "decoder"} or {@code "encoder"}, its
 * DcAeConfig as the model's config, and profiles {@code { "side": 512, "images": 1 }}; without
 * {@code part} it is a model's.
 *
 * @param plan name of the plan's file
 * @param planBytes its size
 * @param planSha256 its hash, lower-case hex
 * @param modelSha256 what the model is known by, see {@link #modelHash}
 * @param subject what it computes, and in which sizes
 * @param precision type of the arithmetic, a {@link io.nit.core.tensor.DType} name
 * @param builtOn where it was built, which is where it runs
 * @param verification what was measured; may be empty
 * @param command the line that builds it again
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
    ArrayNode verification,
    String command,
    ObjectNode provenance) {
  /** What follows the plan's name in the manifest's. */
  public static final String SUFFIX = ".json";

  /** What the name of a plan ends with. */
  public static final String PLAN_SUFFIX = ".plan";

  /** The version that this code writes and reads. */
  public static final int VERSION = 1;

  private static final String FORMAT = "nit-engine";

  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);

  /**
   * A bucket of sizes.
   *
   * @param tokens the most tokens of a pack
   * @param images the most images of a pack
   */
  public record Profile(int tokens, int images) {}

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

  /** The manifest's file of a plan. */
  public static Path fileOf(Path plan) {
    return plan.resolveSibling(plan.getFileName() + SUFFIX);
  }

  /**
   * The plans of a folder that have a manifest and compute a part, the preferred precision first:
   * bf16, f16, f32, then by name.
   *
   * @throws IOException if the folder or a manifest cannot be read
   */
  public static List<Path> plansIn(Path folder, EnginePart part) throws IOException {
    if (!Files.isDirectory(folder)) {
      return List.of();
    }
    List<Path> plans;
    try (Stream<Path> files = Files.list(folder)) {
      plans =
          files
              .filter(file -> file.getFileName().toString().endsWith(PLAN_SUFFIX))
              .filter(file -> Files.isRegularFile(fileOf(file)))
              .sorted()
              .toList();
    }
    Map<String, List<Path>> byPrecision = new HashMap<>();
    for (Path plan : plans) {
      EngineManifest manifest = read(plan);
      if (manifest.subject.part() == part) {
        byPrecision.computeIfAbsent(manifest.precision, precision -> new ArrayList<>()).add(plan);
      }
    }
    return Stream.of("BF16", "F16", "F32")
        .flatMap(precision -> byPrecision.getOrDefault(precision, List.of()).stream())
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
    compare(all, "tensorrt", builtOn.tensorrt, host.tensorrt);
    compare(all, "cuda", builtOn.cuda, host.cuda);
    compare(all, "gpu.name", builtOn.gpu, host.gpu);
    compare(all, "gpu.compute_capability", builtOn.computeCapability, host.computeCapability);
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

  /** Every way in which this engine is not of a precision, part and sizes; empty if it is. */
  public List<Mismatch> differences(String wantedPrecision, EngineSubject wanted) {
    List<Mismatch> all = new ArrayList<>();
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

  /** The differences as a user reads them, with the line that builds the engine again. */
  public String refusal(List<Mismatch> mismatches) {
    return plan
        + " does not fit: "
        + mismatches.stream().map(Mismatch::toString).collect(Collectors.joining("; "))
        + ". Build it again with: "
        + command;
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
      throw new NoSuchFileException(file.toString(), null, "no manifest of an engine");
    }
    JsonNode root;
    try {
      root = JSON.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw new IOException(file + ": expected JSON, found: " + e.getOriginalMessage(), e);
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
          text(root, "precision"),
          new Host(
              text(root, "tensorrt"),
              text(root, "cuda"),
              text(gpu, "name"),
              text(gpu, "compute_capability"),
              plugins),
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
          profiles.add(new Profile(number(profile, "tokens"), number(profile, "images")));
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
        sizes.addObject().put("tokens", profile.tokens).put("images", profile.images);
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
    root.set("verification", verification);
    root.put("command", command);
    root.set("provenance", provenance);
    AtomicFile.writeString(
        fileOf(folder.resolve(plan)),
        JSON.writerWithDefaultPrettyPrinter().writeValueAsString(root) + "\n");
  }
}
