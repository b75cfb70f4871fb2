package io.nit.runtime.ort;

import io.nit.core.io.ProtobufField;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.FileChannel;
import java.nio.file.Path;

/**
 * The weights of an ONNX file that a changed graph is made from: they stay where they are, and the
 * changed graph holds them as external data, which is the file itself. So the heap holds the graph
 * alone, and ONNX Runtime maps the weights as it does those of a file beside the model.
 */
final class WeightsInFile {
  /** Smaller ones are copied: they are few, and shapes among them are read before weights are. */
  static final int COPIED_UP_TO = 1 << 14;

  private static final int RAW_DATA = 9;
  private static final int EXTERNAL_DATA = 13;
  private static final int DATA_LOCATION = 14;
  private static final int EXTERNAL = 1;

  private WeightsInFile() {}

  /**
   * Maps an ONNX file.
   *
   * @throws java.nio.file.NoSuchFileException if there is none
   * @throws IllegalArgumentException if it is larger than protobuf's messages are
   */
  static ByteBuffer map(Path model) throws IOException {
    try (FileChannel file = FileChannel.open(model)) {
      if (file.size() > Integer.MAX_VALUE) {
        throw new IllegalArgumentException(
            "expected an ONNX file of at most "
                + Integer.MAX_VALUE
                + " bytes, found "
                + file.size());
      }
      return file.map(FileChannel.MapMode.READ_ONLY, 0, file.size());
    }
  }

  /**
   * Adds an initializer to a graph that is loaded from the folder of the file it comes from.
   *
   * @param initializer one of the {@link #map mapped} file's
   * @param file the file's name
   */
  static void add(OnnxMessage graph, ProtobufField initializer, String file) {
    OnnxMessage tensor = new OnnxMessage();
    for (ProtobufField field : ProtobufField.of(initializer.value())) {
      ByteBuffer value = field.value();
      if (field.number() == RAW_DATA && value.remaining() > COPIED_UP_TO) {
        tensor
            .message(EXTERNAL_DATA, entry("location", file))
            .message(EXTERNAL_DATA, entry("offset", Integer.toString(value.position())))
            .message(EXTERNAL_DATA, entry("length", Integer.toString(value.remaining())))
            .number(DATA_LOCATION, EXTERNAL);
      } else {
        tensor.field(field);
      }
    }
    graph.message(initializer.number(), tensor);
  }

  private static OnnxMessage entry(String key, String value) {
    return new OnnxMessage().text(1, key).text(2, value);
  }
}
