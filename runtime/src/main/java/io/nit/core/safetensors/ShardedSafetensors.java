package io.nit.core.safetensors;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.io.Closing;
import io.nit.core.io.JsonReason;
import io.nit.core.io.TextFile;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.stream.Collectors;
import java.util.stream.Stream;

/**
 * Reads a sharded checkpoint by its {@code *.safetensors.index.json}: {@code {"metadata": {…},
 * "weight_map": {NAME: SHARD}}}, the shards in the same folder. Shard names with a path, absent
 * shards, and tensors that are not in the shard that the index names are refused.
 */
public final class ShardedSafetensors implements TensorSource {
  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);

  private final Path index;
  private final Map<String, SafetensorsFile> shards = new LinkedHashMap<>();
  private final Map<String, SafetensorsFile> byTensor = new LinkedHashMap<>();
  private final Map<String, TensorSpec> specs = new LinkedHashMap<>();

  private ShardedSafetensors(Path index) {
    this.index = index;
  }

  private void read() throws IOException {
    TextFile.requireSmall(index);
    JsonNode map;
    try {
      map = JSON.readTree(index.toFile()).path("weight_map");
    } catch (JsonProcessingException e) {
      throw new SafetensorsException(
          index + ": expected a JSON index, found: " + JsonReason.of(e), e);
    }
    if (!map.isObject() || map.isEmpty()) {
      throw new SafetensorsException(index + ": expected a weight_map with tensors, found none");
    }
    for (Map.Entry<String, JsonNode> field : map.properties()) {
      String shard = field.getValue().asText();
      if (!shard.endsWith(".safetensors") || shard.contains("/") || shard.contains("\\")) {
        throw new SafetensorsException(
            index
                + ": "
                + field.getKey()
                + ": expected a .safetensors file beside the index, found '"
                + shard
                + "'");
      }
      SafetensorsFile file = shards.get(shard);
      if (file == null) {
        file = SafetensorsFile.open(index.toAbsolutePath().resolveSibling(shard));
        shards.put(shard, file);
      }
      TensorSpec spec = file.specs().get(field.getKey());
      if (spec == null) {
        throw new SafetensorsException(
            index + ": " + field.getKey() + ": expected in " + shard + ", found no such tensor");
      }
      byTensor.put(field.getKey(), file);
      specs.put(field.getKey(), spec);
    }
  }

  /**
   * Opens an index and all its shards.
   *
   * @throws SafetensorsException if the index or a shard is malformed
   */
  public static ShardedSafetensors open(Path index) throws IOException {
    if (!Files.exists(index)) {
      throw new NoSuchFileException(index.toString(), null, "no such safetensors index");
    }
    ShardedSafetensors opened = new ShardedSafetensors(index);
    try {
      opened.read();
      return opened;
    } catch (NoSuchFileException e) {
      opened.close();
      throw new SafetensorsException(index + ": shard not found: " + e.getFile(), e);
    } catch (IOException | RuntimeException e) {
      opened.close();
      throw e;
    }
  }

  /** The index or the only safetensors file of a folder. */
  static Path findIn(Path folder) throws IOException {
    try (Stream<Path> files = Files.list(folder)) {
      List<Path> all = files.sorted().collect(Collectors.toList());
      List<Path> found =
          all.stream()
              .filter(f -> f.getFileName().toString().endsWith(".safetensors.index.json"))
              .collect(Collectors.toList());
      if (found.isEmpty()) {
        found =
            all.stream()
                .filter(f -> f.getFileName().toString().endsWith(".safetensors"))
                .collect(Collectors.toList());
      }
      if (found.size() != 1) {
        throw new SafetensorsException(
            folder
                + ": expected one safetensors file or index, found "
                + found.size()
                + (found.isEmpty()
                    ? ""
                    : found.stream()
                        .map(file -> file.getFileName().toString())
                        .sorted()
                        .collect(Collectors.joining(", ", ": ", "; name one of them"))));
      }
      return found.get(0);
    }
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return Collections.unmodifiableMap(specs);
  }

  /** The metadata of all shards; later shards win. */
  @Override
  public Map<String, String> metadata() {
    Map<String, String> all = new LinkedHashMap<>();
    shards.values().forEach(shard -> all.putAll(shard.metadata()));
    return all;
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    SafetensorsFile file = byTensor.get(name);
    if (file == null) {
      throw new IllegalArgumentException(
          name + ": expected a tensor of that name, found " + specs.size() + " others in " + index);
    }
    return file.tensor(name);
  }

  @Override
  public String where() {
    return index.toString();
  }

  @Override
  public void close() throws IOException {
    Closing.each(shards.values(), SafetensorsFile::close);
  }
}
