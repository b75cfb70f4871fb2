package io.nit.exporter.onnx;

import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.onnx.ModelProto;

/** ONNX models as protobuf reads them. */
public final class ParsedModels {
  private ParsedModels() {}

  /** The model of a file. */
  public static ModelProto parsed(Path file) throws IOException {
    return parsed(Files.readAllBytes(file));
  }

  /** The model of a file's bytes. */
  static ModelProto parsed(byte[] bytes) {
    ModelProto model = new ModelProto();
    try (BytePointer pointer = new BytePointer(bytes)) {
      assertTrue(model.ParseFromArray(pointer, bytes.length));
    }
    return model;
  }

  /** A string of a model; null is what the bindings make of an empty one. */
  public static String text(BytePointer value) {
    return value == null ? "" : value.getString();
  }
}
