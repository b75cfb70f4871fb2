package io.nit.core.safetensors;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.DeserializationFeature;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.io.JsonReason;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Comparator;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;

/**
 * Reads one safetensors file. Its bytes:
 *
 * <pre>
 * 0      8 bytes   N, length of the header, unsigned little-endian
 * 8      N bytes   UTF-8 JSON: { "__metadata__": {string: string}, NAME: {"dtype", "shape", "data_offsets": [from, to)} }
 * 8+N    the rest  values, row-major, little-endian; offsets count from here and cover it without hole or overlap
 * </pre>
 *
 * <p>Every field is checked against the file's real size before memory is taken for it: a header
 * longer than the file (or than 100 MB, the format's limit), duplicate names, negative or
 * overflowing shapes, and offsets that overlap, leave holes or lie beyond the end are refused.
 */
public final class SafetensorsFile implements TensorSource {
  private static final int MAX_HEADER = 100_000_000;

  /**
   * Tensors up to this size are read and not mapped: training reads thousands of small files, and a
   * mapping costs more than such a copy and lasts until the buffer is collected.
   */
  private static final int MAX_COPIED = 1 << 20;

  private static final ObjectMapper JSON =
      new ObjectMapper()
          .enable(DeserializationFeature.FAIL_ON_TRAILING_TOKENS)
          .enable(DeserializationFeature.FAIL_ON_READING_DUP_TREE_KEY);

  private final Path path;
  private final FileChannel channel;
  private final Map<String, Entry> entries;
  private final Map<String, TensorSpec> specs;
  private final Map<String, String> metadata;

  private record Entry(TensorSpec spec, long from) {}

  private SafetensorsFile(Path path, FileChannel channel) throws IOException {
    this.path = path;
    this.channel = channel;
    long size = channel.size();
    if (size < 8) {
      throw bad("expected an 8-byte header length, found a file of " + size + " bytes");
    }
    long headerLength = read(0, ByteBuffer.allocate(8)).getLong();
    if (headerLength < 2 || headerLength > MAX_HEADER || headerLength > size - 8) {
      throw bad(
          "expected a header of 2.."
              + Math.min(MAX_HEADER, size - 8)
              + " bytes, found length "
              + Long.toUnsignedString(headerLength));
    }
    JsonNode header = parse(read(8, ByteBuffer.allocate((int) headerLength)));
    Map<String, String> metadata = new LinkedHashMap<>();
    Map<String, Entry> entries = new LinkedHashMap<>();
    for (Map.Entry<String, JsonNode> field : header.properties()) {
      if (field.getKey().equals("__metadata__")) {
        readMetadata(field.getValue(), metadata);
      } else {
        entries.put(field.getKey(), entry(field.getKey(), field.getValue(), 8 + headerLength));
      }
    }
    checkCover(entries, 8 + headerLength, size);
    Map<String, TensorSpec> specs = new LinkedHashMap<>();
    entries.values().stream()
        .sorted(Comparator.comparingLong(Entry::from))
        .forEach(e -> specs.put(e.spec.name(), e.spec));
    this.entries = entries;
    this.specs = Collections.unmodifiableMap(specs);
    this.metadata = Collections.unmodifiableMap(metadata);
  }

  /**
   * Opens a file and checks its header.
   *
   * @throws SafetensorsException if it is malformed or truncated
   * @throws NoSuchFileException if there is none
   */
  public static SafetensorsFile open(Path path) throws IOException {
    if (!Files.exists(path)) {
      throw new NoSuchFileException(path.toString(), null, "no such safetensors file");
    }
    if (!Files.isRegularFile(path)) {
      throw new SafetensorsException(path + ": expected a safetensors file, found a folder");
    }
    FileChannel channel = FileChannel.open(path, StandardOpenOption.READ);
    try {
      return new SafetensorsFile(path, channel);
    } catch (IOException | RuntimeException e) {
      channel.close();
      throw e;
    }
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return specs;
  }

  @Override
  public Map<String, String> metadata() {
    return metadata;
  }

  @Override
  public String where() {
    return path.toString();
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    if (!channel.isOpen()) {
      throw new IllegalStateException("SafetensorsFile " + path + " is closed");
    }
    Entry entry = entries.get(name);
    if (entry == null) {
      throw new IllegalArgumentException(
          name
              + ": expected a tensor of that name, found "
              + entries.size()
              + " others in "
              + path);
    }
    long bytes = entry.spec.bytes();
    if (bytes > Integer.MAX_VALUE) {
      throw new SafetensorsException(
          path + ": " + name + ": expected at most 2 GiB in one tensor, found " + bytes + " bytes");
    }
    ByteBuffer data =
        bytes <= MAX_COPIED
            ? read(entry.from, ByteBuffer.allocateDirect((int) bytes)).asReadOnlyBuffer()
            : channel.map(FileChannel.MapMode.READ_ONLY, entry.from, bytes);
    return new HostTensor(entry.spec, data);
  }

  /** Closes the file; tensors already mapped stay readable. Safe to call twice. */
  @Override
  public void close() throws IOException {
    channel.close();
  }

  private ByteBuffer read(long from, ByteBuffer buffer) throws IOException {
    buffer.order(ByteOrder.LITTLE_ENDIAN);
    while (buffer.hasRemaining()) {
      if (channel.read(buffer, from + buffer.position()) < 0) {
        throw bad("truncated while it was read");
      }
    }
    return buffer.flip();
  }

  private JsonNode parse(ByteBuffer header) throws SafetensorsException {
    JsonNode tree;
    try {
      tree = JSON.readTree(StandardCharsets.UTF_8.newDecoder().decode(header).toString());
    } catch (CharacterCodingException e) {
      throw new SafetensorsException(path + ": expected a header in UTF-8, found other bytes", e);
    } catch (JsonProcessingException e) {
      throw new SafetensorsException(
          path + ": expected a JSON header, found: " + JsonReason.of(e), e);
    }
    if (tree == null || !tree.isObject()) {
      throw bad("expected a JSON object as header");
    }
    return tree;
  }

  private void readMetadata(JsonNode node, Map<String, String> into) throws SafetensorsException {
    if (!node.isObject()) {
      throw bad("__metadata__: expected an object of strings, found " + node.getNodeType());
    }
    for (Map.Entry<String, JsonNode> field : node.properties()) {
      if (!field.getValue().isTextual()) {
        throw bad("__metadata__." + field.getKey() + ": expected a string");
      }
      into.put(field.getKey(), field.getValue().textValue());
    }
  }

  private Entry entry(String name, JsonNode node, long dataStart) throws SafetensorsException {
    JsonNode offsets = node.path("data_offsets");
    if (!node.path("dtype").isTextual()
        || !node.path("shape").isArray()
        || !offsets.isArray()
        || offsets.size() != 2) {
      throw bad(name + ": expected dtype, shape and data_offsets [from, to], found " + node);
    }
    long[] dims = new long[node.get("shape").size()];
    for (int i = 0; i < dims.length; i++) {
      dims[i] = count(name + ".shape", node.get("shape").get(i));
    }
    long from = count(name + ".data_offsets", offsets.get(0));
    long to = count(name + ".data_offsets", offsets.get(1));
    try {
      TensorSpec spec =
          new TensorSpec(name, DType.parse(node.get("dtype").textValue()), Shape.of(dims));
      if (to < from || to - from != spec.bytes()) {
        throw bad(
            name
                + ": expected "
                + spec.bytes()
                + " bytes for "
                + spec.dtype()
                + " "
                + spec.shape()
                + ", found data_offsets ["
                + from
                + ", "
                + to
                + ")");
      }
      return new Entry(spec, Math.addExact(dataStart, from));
    } catch (IllegalArgumentException | ArithmeticException e) {
      throw new SafetensorsException(path + ": " + name + ": " + e.getMessage(), e);
    }
  }

  private long count(String what, JsonNode node) throws SafetensorsException {
    if (!node.isIntegralNumber() || !node.canConvertToLong() || node.longValue() < 0) {
      throw bad(what + ": expected whole numbers of 0 or more, found " + node);
    }
    return node.longValue();
  }

  private void checkCover(Map<String, Entry> entries, long start, long size)
      throws SafetensorsException {
    List<Entry> sorted = new ArrayList<>(entries.values());
    sorted.sort(Comparator.comparingLong(Entry::from).thenComparingLong(e -> e.spec.bytes()));
    long at = start;
    for (Entry entry : sorted) {
      if (entry.from != at) {
        throw bad(
            entry.spec.name()
                + ": expected its data at offset "
                + (at - start)
                + ", found "
                + (entry.from - start)
                + (entry.from < at ? " (overlap)" : " (hole)"));
      }
      at = Math.addExact(at, entry.spec.bytes());
      if (at > size) {
        throw bad(
            entry.spec.name()
                + ": expected data up to byte "
                + at
                + ", found a file of "
                + size
                + " bytes (truncated)");
      }
    }
    if (at != size) {
      throw bad("expected " + at + " bytes, found " + (size - at) + " more after the last tensor");
    }
  }

  private SafetensorsException bad(String message) {
    return new SafetensorsException(path + ": " + message);
  }
}
