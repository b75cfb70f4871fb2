package io.nit.core.bundle;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Codecs;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.SamplerKind;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.JsonReason;
import io.nit.core.io.Sha256;
import io.nit.core.io.TextFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * A model bundle: a folder with {@code bundle.json} and the files it names, what {@code nit-export}
 * leaves for {@code nit-run} and {@code NitPipeline}. The manifest:
 *
 * <pre>{@code
 * {
 *   "format": "nit-bundle", "version": 1,
 *   "config": { ... NitConfig ... },
 *   "model": { "file": "model.onnx", "weights": "F32", "opset": 18 },
 *   "codec": { "type": "space-to-depth", "factor": 4, "scale": 1.0, "shift": 0.0 },   // may be absent: latents only
 *   "autoencoder": { "encoder": "encoder.onnx", "decoder": "decoder.onnx", ... },     // of a learned codec
 *   "labels": ["flag", "face", ...],                                                  // may be empty
 *   "max_tokens": 16384,
 *   "defaults": { "steps": 50, "sampler": "euler", "guidance": 2.5, "guidance_interval": [0, 0.7] },
 *   "files": [ { "name": "model.onnx", "bytes": 123, "sha256": "..." } ],
 *   "verification": [ { "against": "reference", "backend": "ort-cpu", "max_abs": 1e-6, "relative": 1e-6, ... } ],
 *   "provenance": { "checkpoint": "...", "tool": "nit-export 0.1.0", ... }
 * }
 * }</pre>
 *
 * @param folder where it lies
 * @param config shape of the network
 * @param modelFile name of the ONNX file in the folder
 * @param weights type that the weights are stored in, a {@link io.nit.core.tensor.DType} name
 * @param opset version of the standard operators the file uses
 * @param codec what turns latents into pictures, absent if the bundle makes latents only
 * @param autoencoder files of a learned codec, present if and only if {@code codec} is one
 * @param labels names of the classes by label; may be fewer than there are classes, or none
 * @param maxTokens tokens that one forward may hold
 * @param defaults sampling defaults, see {@link SamplingDefaults}
 * @param files every file of the bundle but the manifest
 * @param verification what {@code --verify} measured; may be empty
 * @param provenance where it came from; free-form
 */
public record Bundle(
    Path folder,
    NitConfig config,
    String modelFile,
    String weights,
    int opset,
    Optional<CodecSpec> codec,
    Optional<AutoencoderFiles> autoencoder,
    List<String> labels,
    int maxTokens,
    SamplingDefaults defaults,
    List<FileEntry> files,
    ArrayNode verification,
    ObjectNode provenance) {

  /** Checks that the codec fits the network. */
  public Bundle {
    if (codec.isPresent() && codec.get().channels() != config.inChannels()) {
      throw new IllegalArgumentException(
          folder.resolve(MANIFEST)
              + ": codec: expected "
              + config.inChannels()
              + " channels (config.in_channels), found "
              + codec.get().channels());
    }
  }

  /** The manifest's name. */
  public static final String MANIFEST = "bundle.json";

  /** The manifest version this code writes and reads. */
  public static final int VERSION = 1;

  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);

  /**
   * Sampling settings that a request starts from.
   *
   * @param steps steps
   * @param sampler {@code euler}, {@code heun} or {@code sde}
   * @param guidance scale
   * @param guidanceLow interval's lower end
   * @param guidanceHigh interval's upper end
   */
  public record SamplingDefaults(
      int steps, String sampler, double guidance, double guidanceLow, double guidanceHigh) {
    /** The paper's ODE settings for mid sizes. */
    public static final SamplingDefaults STANDARD = new SamplingDefaults(50, "euler", 2.5, 0, 0.7);

    /** Checks every value. */
    public SamplingDefaults {
      SamplerKind.parse(sampler).times(steps);
      new Guidance(guidance, guidanceLow, guidanceHigh);
    }

    /** The manifest entry. */
    public ObjectNode toNode() {
      ObjectNode node = JSON.createObjectNode();
      node.put("steps", steps)
          .put("sampler", sampler)
          .put("guidance", guidance)
          .putArray("guidance_interval")
          .add(guidanceLow)
          .add(guidanceHigh);
      return node;
    }
  }

  /**
   * A file of the bundle.
   *
   * @param name its name in the folder
   * @param bytes its size
   * @param sha256 its hash, lower-case hex
   */
  public record FileEntry(String name, long bytes, String sha256) {}

  /**
   * Reads a manifest and checks that its files are there with the sizes it says; hashes are checked
   * by {@link #verifyHashes}.
   *
   * @throws NoSuchFileException if there is no manifest
   * @throws IOException if a file cannot be read, is missing, or has another size
   * @throws IllegalArgumentException if the manifest is malformed or of another version; names the
   *     field
   */
  public static Bundle open(Path folder) throws IOException {
    Path file = folder.resolve(MANIFEST);
    JsonNode node = manifest(file, "nit-bundle", VERSION);
    List<String> labels = new ArrayList<>();
    node.path("labels").forEach(label -> labels.add(label.asText()));
    List<FileEntry> files = files(node, folder, file);
    String model = plainName(node.path("model").path("file").asText(), file);
    if (files.stream().noneMatch(listed -> listed.name.equals(model))) {
      throw new IllegalArgumentException(
          file + ": model.file: expected a name listed in files, found '" + model + "'");
    }
    NitConfig config =
        NitConfig.fromNode(node.get("config"), file + ": config", PositionOrder.AXIAL);
    int maxTokens = node.path("max_tokens").asInt(16_384);
    if (maxTokens < 1) {
      throw new IllegalArgumentException(
          file + ": max_tokens: expected 1 or more, found " + node.path("max_tokens"));
    }
    Optional<CodecSpec> codec =
        Optional.ofNullable(node.get("codec"))
            .filter(JsonNode::isObject)
            .map(entry -> Codecs.of(entry, file.toString()));
    Optional<AutoencoderFiles> autoencoder = autoencoder(node, codec, files, file);
    return new Bundle(
        folder,
        config,
        model,
        node.path("model").path("weights").asText("F32"),
        node.path("model").path("opset").asInt(),
        codec,
        autoencoder,
        List.copyOf(labels),
        maxTokens,
        defaults(node.path("defaults"), file),
        files,
        node.path("verification") instanceof ArrayNode array ? array : JSON.createArrayNode(),
        node.path("provenance") instanceof ObjectNode object ? object : JSON.createObjectNode());
  }

  /** Reads a manifest of a format and version. */
  static JsonNode manifest(Path file, String format, int version) throws IOException {
    if (!Files.exists(file)) {
      throw new NoSuchFileException(file.toString(), null, "expected a bundle made by nit-export");
    }
    TextFile.requireSmall(file);
    JsonNode node;
    try {
      node = JSON.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          file + ": expected a JSON manifest, found: " + JsonReason.of(e), e);
    }
    if (!node.path("format").asText().equals(format)) {
      throw new IllegalArgumentException(
          file
              + ": format: expected "
              + format
              + ", found "
              + (node.has("format") ? node.get("format") : "none"));
    }
    if (node.path("version").asInt() != version) {
      throw new IllegalArgumentException(
          file
              + ": version: expected "
              + version
              + ", found "
              + node.path("version")
              + "; export the checkpoint again with this release's nit-export");
    }
    return node;
  }

  /** The files that a manifest lists, after a look at each one's size. */
  static List<FileEntry> files(JsonNode node, Path folder, Path file) throws IOException {
    List<FileEntry> files = new ArrayList<>();
    for (JsonNode entry : node.path("files")) {
      FileEntry listed =
          new FileEntry(
              plainName(entry.path("name").asText(), file),
              entry.path("bytes").asLong(),
              entry.path("sha256").asText());
      Path path = folder.resolve(listed.name);
      if (!Files.isRegularFile(path)) {
        throw new NoSuchFileException(
            path.toString(), null, "listed in " + file + " but not there");
      }
      if (Files.size(path) != listed.bytes) {
        throw new IOException(
            path + ": expected " + listed.bytes + " bytes, found " + Files.size(path));
      }
      files.add(listed);
    }
    return List.copyOf(files);
  }

  private static Optional<AutoencoderFiles> autoencoder(
      JsonNode node, Optional<CodecSpec> codec, List<FileEntry> files, Path file) {
    boolean learned = codec.isPresent() && codec.get().plain().isEmpty();
    if (learned != node.path("autoencoder").isObject()) {
      throw new IllegalArgumentException(
          file
              + ": autoencoder: expected "
              + (learned ? "the files of the " + codec.get().type() + " codec" : "none")
              + ", found "
              + node.get("autoencoder"));
    }
    if (!learned) {
      return Optional.empty();
    }
    return Optional.of(autoencoder(node.get("autoencoder"), files, file));
  }

  /** The autoencoder that a manifest describes, after a look whether its files are listed. */
  static AutoencoderFiles autoencoder(JsonNode entry, List<FileEntry> files, Path file) {
    AutoencoderFiles found;
    try {
      found = AutoencoderFiles.of(entry);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(file + ": " + e.getMessage(), e);
    }
    for (String name : found.names()) {
      plainName(name, file);
      if (files.stream().noneMatch(listed -> listed.name.equals(name))) {
        throw new IllegalArgumentException(
            file + ": autoencoder: expected names listed in files, found '" + name + "'");
      }
    }
    return found;
  }

  private static SamplingDefaults defaults(JsonNode node, Path file) {
    SamplingDefaults standard = SamplingDefaults.STANDARD;
    try {
      return new SamplingDefaults(
          node.path("steps").asInt(standard.steps),
          node.path("sampler").asText(standard.sampler),
          node.path("guidance").asDouble(standard.guidance),
          node.path("guidance_interval").path(0).asDouble(standard.guidanceLow),
          node.path("guidance_interval").path(1).asDouble(standard.guidanceHigh));
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(file + ": defaults: " + e.getMessage(), e);
    }
  }

  /**
   * Writes the manifest, atomically; the other files must be there already, so that a bundle never
   * lists what it lacks.
   */
  public void write() throws IOException {
    ObjectNode node = JSON.createObjectNode();
    node.put("format", "nit-bundle").put("version", VERSION);
    node.set("config", config.toNode());
    node.putObject("model").put("file", modelFile).put("weights", weights).put("opset", opset);
    codec.ifPresent(spec -> node.set("codec", spec.toNode()));
    autoencoder.ifPresent(names -> node.set("autoencoder", names.toNode()));
    ArrayNode names = node.putArray("labels");
    labels.forEach(names::add);
    node.put("max_tokens", maxTokens);
    node.set("defaults", defaults.toNode());
    filesTo(node, files);
    node.set("verification", verification);
    node.set("provenance", provenance);
    AtomicFile.writeString(folder.resolve(MANIFEST), node.toPrettyString() + "\n");
  }

  /** The manifest entry that {@link #files(JsonNode, Path, Path)} reads. */
  static void filesTo(ObjectNode node, List<FileEntry> files) {
    ArrayNode list = node.putArray("files");
    for (FileEntry entry : files) {
      list.addObject()
          .put("name", entry.name)
          .put("bytes", entry.bytes)
          .put("sha256", entry.sha256);
    }
  }

  /** The same bundle in another folder, such as one that engines are checked in. */
  public Bundle in(Path other) {
    return new Bundle(
        other,
        config,
        modelFile,
        weights,
        opset,
        codec,
        autoencoder,
        labels,
        maxTokens,
        defaults,
        files,
        verification,
        provenance);
  }

  /** Path of the ONNX file. */
  public Path model() {
    return folder.resolve(modelFile);
  }

  /** Path of a file of the bundle. */
  public Path file(String name) {
    return folder.resolve(name);
  }

  /** Pixels that sides must be multiples of: codec factor × patch size; empty without a codec. */
  public Optional<Integer> sizeMultiple() {
    return codec.map(spec -> spec.factor() * config.patchSize());
  }

  /**
   * Hashes every file and compares.
   *
   * @throws IOException naming the first file whose hash differs
   */
  public void verifyHashes() throws IOException {
    for (FileEntry entry : files) {
      String found = Sha256.of(folder.resolve(entry.name));
      if (!found.equals(entry.sha256)) {
        throw new IOException(
            folder.resolve(entry.name) + ": expected sha256 " + entry.sha256 + ", found " + found);
      }
    }
  }

  /** The entry of a file as it is now. */
  public static FileEntry describe(Path file) throws IOException {
    return new FileEntry(file.getFileName().toString(), Files.size(file), Sha256.of(file));
  }

  private static String plainName(String name, Path where) {
    if (name.isEmpty() || name.contains("/") || name.contains("\\") || name.startsWith(".")) {
      throw new IllegalArgumentException(
          where + ": expected a file name in the bundle's folder, found '" + name + "'");
    }
    return name;
  }
}
