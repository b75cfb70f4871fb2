package io.nit.core.safetensors;

import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Map;

/** Named tensors on disk: one safetensors file, or the shards of an index. Safe to close twice. */
public interface TensorSource extends AutoCloseable {
  /** Every tensor's name, type and shape, in file order. */
  Map<String, TensorSpec> specs();

  /** The free-form strings of the header's {@code __metadata__}; empty where there are none. */
  Map<String, String> metadata();

  /**
   * A tensor's values, read-only: mapped from the file without a copy in heap, or, where they are a
   * megabyte at most, read. They outlive {@link #close}; the system drops a mapping once its buffer
   * is garbage.
   *
   * @throws IllegalArgumentException if there is no such tensor
   * @throws IllegalStateException after {@link #close}
   */
  HostTensor tensor(String name) throws IOException;

  /** Whether there is a tensor of that name. */
  default boolean has(String name) {
    return specs().containsKey(name);
  }

  /** What to call it in messages: the file's name. */
  String where();

  @Override
  void close() throws IOException;

  /**
   * Opens a {@code .safetensors} file, a {@code .safetensors.index.json} with its shards beside it,
   * or a folder that holds exactly one of them.
   *
   * @throws SafetensorsException if a file is malformed
   * @throws IOException if a file is missing or cannot be read
   */
  static TensorSource open(Path path) throws IOException {
    if (Files.isDirectory(path)) {
      return open(ShardedSafetensors.findIn(path));
    }
    if (path.getFileName().toString().endsWith(".json")) {
      return ShardedSafetensors.open(path);
    }
    return SafetensorsFile.open(path);
  }
}
