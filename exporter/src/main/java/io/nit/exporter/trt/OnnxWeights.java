package io.nit.exporter.trt;

import com.google.protobuf.CodedInputStream;
import com.google.protobuf.InvalidProtocolBufferException;
import com.google.protobuf.WireFormat;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.BufferedInputStream;
import java.io.IOException;
import java.io.InputStream;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import org.bytedeco.onnx.GraphProto;
import org.bytedeco.onnx.ModelProto;
import org.bytedeco.onnx.StringStringEntryProto;
import org.bytedeco.onnx.TensorProto;
import org.bytedeco.onnx.global.onnx;

/**
 * The weights of an ONNX file as a checkpoint: its named float initializers, inside the file or in
 * a data file beside it, and the model's metadata. Values are mapped when they are asked for.
 */
public final class OnnxWeights implements TensorSource {
  /** Where a tensor's values lie. */
  private record Place(Path file, long offset) {}

  private final Path model;
  private final Map<String, String> metadata = new LinkedHashMap<>();
  private final Map<String, TensorSpec> specs = new LinkedHashMap<>();
  private final Map<String, Place> places = new LinkedHashMap<>();

  private OnnxWeights(Path model) {
    this.model = model;
  }

  /**
   * Reads where the weights of a model lie.
   *
   * @throws NoSuchFileException if there is no such file
   * @throws IOException if it is no ONNX file, or its data file is missing or too short
   */
  public static OnnxWeights open(Path model) throws IOException {
    if (!Files.isRegularFile(model)) {
      throw new NoSuchFileException(model.toString(), null, "no such model file");
    }
    OnnxWeights weights = new OnnxWeights(model);
    try (InputStream bytes = new BufferedInputStream(Files.newInputStream(model), 1 << 16)) {
      CodedInputStream in = CodedInputStream.newInstance(bytes);
      in.setSizeLimit(Integer.MAX_VALUE);
      weights.readModel(in);
    } catch (InvalidProtocolBufferException e) {
      throw new IOException(model + ": expected an ONNX file, found " + e.getMessage(), e);
    }
    weights.checkPlaces();
    return weights;
  }

  /** Reads one field of a message, or leaves it for the caller to skip. */
  private interface Field {
    /** Whether the field was read. */
    boolean read(int number, CodedInputStream in) throws IOException;
  }

  private static void message(CodedInputStream in, Field field) throws IOException {
    for (int tag = in.readTag(); tag != 0; tag = in.readTag()) {
      if (!field.read(WireFormat.getTagFieldNumber(tag), in)) {
        in.skipField(tag);
      }
    }
  }

  private static void submessage(CodedInputStream in, Field field) throws IOException {
    int limit = in.pushLimit(in.readUInt32());
    message(in, field);
    in.popLimit(limit);
  }

  private void readModel(CodedInputStream in) throws IOException {
    message(
        in,
        (number, from) -> {
          if (number == ModelProto.kGraphFieldNumber) {
            submessage(from, this::readGraphField);
            return true;
          }
          if (number == ModelProto.kMetadataPropsFieldNumber) {
            String[] entry = readEntry(from);
            metadata.put(entry[0], entry[1]);
            return true;
          }
          return false;
        });
  }

  private boolean readGraphField(int number, CodedInputStream in) throws IOException {
    if (number != GraphProto.kInitializerFieldNumber) {
      return false;
    }
    Initializer tensor = new Initializer();
    submessage(in, tensor::readField);
    tensor.add();
    return true;
  }

  private static String[] readEntry(CodedInputStream in) throws IOException {
    String[] entry = {"", ""};
    submessage(
        in,
        (number, from) -> {
          if (number == StringStringEntryProto.kKeyFieldNumber) {
            entry[0] = from.readString();
          } else if (number == StringStringEntryProto.kValueFieldNumber) {
            entry[1] = from.readString();
          } else {
            return false;
          }
          return true;
        });
    return entry;
  }

  private final class Initializer {
    private String name = "";
    private int type;
    private final List<Long> dims = new ArrayList<>();
    private long rawOffset = -1;
    private final Map<String, String> external = new LinkedHashMap<>();

    boolean readField(int number, CodedInputStream in) throws IOException {
      if (number == TensorProto.kDimsFieldNumber) {
        // Packed or not: a list of one byte array, or one number a field.
        if (WireFormat.getTagWireType(in.getLastTag()) == WireFormat.WIRETYPE_LENGTH_DELIMITED) {
          int limit = in.pushLimit(in.readUInt32());
          while (!in.isAtEnd()) {
            dims.add(in.readInt64());
          }
          in.popLimit(limit);
        } else {
          dims.add(in.readInt64());
        }
      } else if (number == TensorProto.kDataTypeFieldNumber) {
        type = in.readInt32();
      } else if (number == TensorProto.kNameFieldNumber) {
        name = in.readString();
      } else if (number == TensorProto.kRawDataFieldNumber) {
        int bytes = in.readUInt32();
        rawOffset = in.getTotalBytesRead();
        in.skipRawBytes(bytes);
      } else if (number == TensorProto.kExternalDataFieldNumber) {
        String[] entry = readEntry(in);
        external.put(entry[0], entry[1]);
      } else {
        return false;
      }
      return true;
    }

    void add() throws IOException {
      DType stored;
      if (type == onnx.TensorProto_DataType_FLOAT) {
        stored = DType.F32;
      } else if (type == onnx.TensorProto_DataType_FLOAT16) {
        stored = DType.F16;
      } else if (type == onnx.TensorProto_DataType_BFLOAT16) {
        stored = DType.BF16;
      } else {
        return; // a constant of the graph, no weight
      }
      long[] extents = dims.stream().mapToLong(Long::longValue).toArray();
      specs.put(name, new TensorSpec(name, stored, Shape.of(extents)));
      places.put(name, place());
    }

    private Place place() throws IOException {
      if (rawOffset >= 0) {
        return new Place(model, rawOffset);
      }
      String location = external.get("location");
      if (location == null) {
        throw new IOException(
            model + ": " + name + ": expected raw values or a data file, found neither");
      }
      Path folder = model.toAbsolutePath().getParent();
      Path file = folder.resolve(location).normalize();
      if (!file.startsWith(folder)) {
        throw new IOException(
            model + ": " + name + ": expected a data file beside the model, found " + location);
      }
      try {
        return new Place(file, Long.parseLong(external.getOrDefault("offset", "0")));
      } catch (NumberFormatException e) {
        throw new IOException(model + ": " + name + ": offset: " + e.getMessage(), e);
      }
    }
  }

  private void checkPlaces() throws IOException {
    Map<Path, Long> sizes = new LinkedHashMap<>();
    for (Map.Entry<String, Place> entry : places.entrySet()) {
      Path file = entry.getValue().file;
      if (!sizes.containsKey(file)) {
        if (!Files.isRegularFile(file)) {
          throw new NoSuchFileException(file.toString(), null, "no data file of " + model);
        }
        sizes.put(file, Files.size(file));
      }
      long end = entry.getValue().offset + specs.get(entry.getKey()).bytes();
      if (entry.getValue().offset < 0 || end > sizes.get(file)) {
        throw new IOException(
            file
                + ": "
                + entry.getKey()
                + ": expected at least "
                + end
                + " bytes, found "
                + sizes.get(file));
      }
    }
  }

  @Override
  public Map<String, TensorSpec> specs() {
    return Collections.unmodifiableMap(specs);
  }

  @Override
  public Map<String, String> metadata() {
    return Collections.unmodifiableMap(metadata);
  }

  @Override
  public HostTensor tensor(String name) throws IOException {
    TensorSpec spec = specs.get(name);
    if (spec == null) {
      throw new IllegalArgumentException(model + ": expected a tensor " + name + ", found none");
    }
    Place place = places.get(name);
    try (FileChannel in = FileChannel.open(place.file)) {
      return new HostTensor(
          spec, in.map(FileChannel.MapMode.READ_ONLY, place.offset, spec.bytes()));
    }
  }

  @Override
  public String where() {
    return model.getFileName().toString();
  }

  /** Nothing stays open between calls. */
  @Override
  public void close() {}
}
