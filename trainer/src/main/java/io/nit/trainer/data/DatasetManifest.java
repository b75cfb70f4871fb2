package io.nit.trainer.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Codecs;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.JsonReason;
import io.nit.core.io.TextFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * {@code dataset.json} beside a data meta file, which the authors' layout does not have: what made
 * the latents, and what the labels mean.
 *
 * <pre>{"format": 1, "tool": …, "codec": {…}, "labels": [name, …], "patch_size": 1,
 *  "latent_dirs": {TYPE: folder}, "autoencoder": folder, …counts and settings, for people…}</pre>
 *
 * @param codec what made the latents, where it is known
 * @param labels class names by label; empty where they have none
 * @param patchSize the patch size that the sampler meta files count tokens with
 * @param latentDirs folder of latents by type, inside the data set
 * @param autoencoder folder of the autoencoder that made the latents, where it was when it did;
 *     absent for a codec without weights
 */
record DatasetManifest(
    Optional<CodecSpec> codec,
    List<String> labels,
    int patchSize,
    Map<DataType, String> latentDirs,
    Optional<Path> autoencoder) {
  static final String FILE = "dataset.json";
  private static final String AUTOENCODER = "autoencoder";
  private static final int FORMAT = 1;
  private static final ObjectMapper JSON = new ObjectMapper();

  /** Reads a data set's manifest; one that knows nothing where there is none. */
  static DatasetManifest read(Path folder) throws IOException {
    Path file = folder.resolve(FILE);
    if (!Files.exists(file)) {
      return new DatasetManifest(Optional.empty(), List.of(), 1, Map.of(), Optional.empty());
    }
    TextFile.requireSmall(file);
    JsonNode node;
    try {
      node = JSON.readTree(file.toFile());
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(
          file + ": expected a JSON object, found: " + JsonReason.of(e), e);
    }
    if (node.path("format").asInt() != FORMAT) {
      throw new IllegalArgumentException(
          file + ": format: expected " + FORMAT + ", found " + node.path("format"));
    }
    List<String> labels = new ArrayList<>();
    for (JsonNode label : node.path("labels")) {
      labels.add(label.asText());
    }
    Map<DataType, String> dirs = new EnumMap<>(DataType.class);
    for (Map.Entry<String, JsonNode> dir : node.path("latent_dirs").properties()) {
      try {
        dirs.put(DataType.parse(dir.getKey()), dir.getValue().asText());
      } catch (IllegalArgumentException e) {
        throw new IllegalArgumentException(file + ": latent_dirs: " + e.getMessage(), e);
      }
    }
    return new DatasetManifest(
        Optional.ofNullable(node.get("codec"))
            .filter(JsonNode::isObject)
            .map(entry -> Codecs.of(entry, file.toString())),
        labels,
        node.path("patch_size").asInt(1),
        dirs,
        Optional.ofNullable(node.get(AUTOENCODER)).map(JsonNode::asText).map(Path::of));
  }

  /** Writes the manifest with more facts for people, atomically. */
  void write(Path folder, String tool, ObjectNode facts) throws IOException {
    ObjectNode node = JSON.createObjectNode().put("format", FORMAT).put("tool", tool);
    codec.ifPresent(value -> node.set("codec", value.toNode()));
    labels.forEach(node.putArray("labels")::add);
    node.put("patch_size", patchSize);
    ObjectNode dirs = node.putObject("latent_dirs");
    latentDirs.forEach((type, dir) -> dirs.put(type.key(), dir));
    autoencoder.ifPresent(where -> node.put(AUTOENCODER, where.toString()));
    node.setAll(facts);
    AtomicFile.writeString(folder.resolve(FILE), node.toPrettyString() + "\n");
  }
}
