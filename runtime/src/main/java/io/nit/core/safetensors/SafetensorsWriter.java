package io.nit.core.safetensors;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.io.AtomicFile;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;

/**
 * Writes one safetensors file (layout: {@link SafetensorsFile}), atomically. Values are fetched
 * tensor by tensor while writing, so a large checkpoint never stands in memory twice. The same
 * tensors give the same bytes.
 */
public final class SafetensorsWriter {
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private final List<TensorSpec> specs = new ArrayList<>();
  private final List<Values> values = new ArrayList<>();
  private final Set<String> names = new HashSet<>();

  /** Fetches a tensor's values when their turn comes. */
  @FunctionalInterface
  public interface Values {
    /** Exactly the tensor's bytes, little-endian, from position to limit. */
    ByteBuffer get() throws IOException;
  }

  /** Adds a metadata string. */
  public SafetensorsWriter metadata(String key, String value) {
    metadata.put(key, value);
    return this;
  }

  /** Adds a tensor whose values are at hand. */
  public SafetensorsWriter add(HostTensor tensor) {
    return add(tensor.spec(), tensor::bytes);
  }

  /**
   * Adds a tensor whose values are fetched later.
   *
   * @throws IllegalArgumentException if the name was added before or is {@code __metadata__}
   */
  public SafetensorsWriter add(TensorSpec spec, Values source) {
    if (spec.name().equals("__metadata__") || !names.add(spec.name())) {
      throw new IllegalArgumentException("tensor name used twice or reserved: " + spec.name());
    }
    specs.add(spec);
    values.add(source);
    return this;
  }

  /**
   * Writes the file to a temporary name and renames it.
   *
   * @throws IOException if writing fails; {@code target} is then as it was before
   */
  public void write(Path target) throws IOException {
    byte[] header = header();
    AtomicFile.write(
        target,
        temporary -> {
          try (FileChannel out =
              FileChannel.open(
                  temporary, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
            ByteBuffer length = ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN);
            writeFully(out, length.putLong(header.length).flip());
            writeFully(out, ByteBuffer.wrap(header));
            for (int i = 0; i < specs.size(); i++) {
              ByteBuffer data = values.get(i).get();
              if (data.remaining() != specs.get(i).bytes()) {
                throw new IllegalStateException(
                    specs.get(i).name()
                        + ": expected "
                        + specs.get(i).bytes()
                        + " bytes, found "
                        + data.remaining());
              }
              writeFully(out, data);
            }
          }
        });
  }

  private byte[] header() {
    ObjectNode header = new ObjectMapper().createObjectNode();
    if (!metadata.isEmpty()) {
      ObjectNode node = header.putObject("__metadata__");
      metadata.forEach(node::put);
    }
    long at = 0;
    for (TensorSpec spec : specs) {
      ObjectNode node = header.putObject(spec.name());
      node.put("dtype", spec.dtype().name());
      ArrayNode shape = node.putArray("shape");
      for (long dim : spec.shape().dims()) {
        shape.add(dim);
      }
      long end = Math.addExact(at, spec.bytes());
      node.putArray("data_offsets").add(at).add(end);
      at = end;
    }
    byte[] json = header.toString().getBytes(StandardCharsets.UTF_8);
    // Padded with spaces so that values start at a multiple of 8 and can be mapped as they are.
    byte[] padded = new byte[(json.length + 7) / 8 * 8];
    Arrays.fill(padded, (byte) ' ');
    System.arraycopy(json, 0, padded, 0, json.length);
    return padded;
  }

  private static void writeFully(FileChannel out, ByteBuffer data) throws IOException {
    while (data.hasRemaining()) {
      out.write(data);
    }
  }
}
