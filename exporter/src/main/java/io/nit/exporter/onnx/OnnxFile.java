package io.nit.exporter.onnx;

import com.google.protobuf.CodedOutputStream;
import com.google.protobuf.WireFormat;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Half;
import io.nit.core.tensor.HostTensor;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.channels.Channels;
import java.nio.channels.FileChannel;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardCopyOption;
import java.nio.file.StandardOpenOption;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.function.LongConsumer;
import org.bytedeco.onnx.GraphProto;
import org.bytedeco.onnx.ModelProto;
import org.bytedeco.onnx.TensorProto;
import org.bytedeco.onnx.global.onnx;

/**
 * An ONNX file on disk: the graph, and its weights inside or, where they are large, in a second
 * file {@code NAME.data} beside it, each tensor at a multiple of 4096 bytes so that it can be
 * mapped.
 *
 * <p>Weights go from the mapped checkpoint straight to the disk; only one that changes its type
 * stands in heap, one at a time. Both files are written to a temporary folder beside the target,
 * checked there, and moved into place, the weights first.
 *
 * @param model the ONNX file
 * @param data the weights' own file, if there is one
 */
public record OnnxFile(Path model, Optional<Path> data) {
  /** Weights of more bytes than this get a file of their own: protobuf ends at 2 GiB. */
  public static final long EXTERNAL_DATA_ABOVE = 1_500_000_000L;

  private static final int PAGE = 4096;

  /**
   * Writes a graph with a checkpoint's weights.
   *
   * @param graph the network
   * @param checkpoint its weights, of any float type, with or without the projector
   * @param target the ONNX file to make or replace
   * @param externalDataAbove bytes of weights above which they get a file of their own, at most
   *     {@link #EXTERNAL_DATA_ABOVE}
   * @param progress takes the bytes of every weight once it is written; may throw to stop the work
   * @throws IllegalArgumentException naming every tensor that is missing, unexpected or misshapen;
   *     or a weight that the storage type cannot hold
   * @throws IOException if a file cannot be read or written; {@code target} is then as it was
   */
  public static OnnxFile write(
      OnnxGraph graph,
      TensorSource checkpoint,
      Path target,
      long externalDataAbove,
      LongConsumer progress)
      throws IOException {
    if (externalDataAbove < 0 || externalDataAbove > EXTERNAL_DATA_ABOVE) {
      throw new IllegalArgumentException(
          "externalDataAbove: expected 0.."
              + EXTERNAL_DATA_ABOVE
              + " bytes, found "
              + externalDataAbove);
    }
    graph.require(checkpoint);
    Path folder = target.toAbsolutePath().getParent();
    Files.createDirectories(folder);
    Path staging = Files.createTempDirectory(folder, "." + target.getFileName() + ".tmp-");
    try {
      Path model = staging.resolve(target.getFileName());
      Path data = staging.resolve(target.getFileName() + ".data");
      boolean external = graph.weightBytes() > externalDataAbove;
      Writer writer = new Writer(graph, checkpoint, progress);
      if (external) {
        writer.writeData(data);
      }
      writer.writeModel(model, external ? Optional.of(data) : Optional.empty());
      check(model);
      Path movedData = folder.resolve(data.getFileName());
      if (external) {
        Files.move(data, movedData, StandardCopyOption.REPLACE_EXISTING);
      }
      Path movedModel = folder.resolve(model.getFileName());
      Files.move(model, movedModel, StandardCopyOption.REPLACE_EXISTING);
      return new OnnxFile(movedModel, external ? Optional.of(movedData) : Optional.empty());
    } finally {
      Files.deleteIfExists(staging.resolve(target.getFileName()));
      Files.deleteIfExists(staging.resolve(target.getFileName() + ".data"));
      Files.delete(staging);
    }
  }

  /**
   * Writes another graph of the same weights, which takes them from the data file of this one.
   *
   * @param graph weights of the same names, types and order as the graph of this file
   * @param target the ONNX file to make or replace, in this file's folder
   * @return the file, with the same data file
   * @throws IllegalArgumentException if this file has no data file, or one of other weights
   * @throws IOException if the file cannot be written; {@code target} is then as it was
   */
  public OnnxFile share(OnnxGraph graph, Path target) throws IOException {
    Path folder = target.toAbsolutePath().getParent();
    List<Long> offsets = offsets(graph);
    long end = offsets.get(offsets.size() - 1);
    end += graph.weights().get(offsets.size() - 1).stored().bytes();
    if (data.isEmpty()
        || !folder.equals(data.get().toAbsolutePath().getParent())
        || Files.size(data.get()) != end) {
      throw new IllegalArgumentException(
          target + ": expected a data file of " + end + " bytes beside it, found " + data);
    }
    // Beside the data from the start, as the checker looks for it there.
    Path temporary = folder.resolve("." + target.getFileName() + ".tmp");
    try {
      Files.deleteIfExists(temporary);
      new Writer(graph, null, bytes -> {}).writeModel(temporary, data);
      check(temporary);
      Files.move(temporary, target, StandardCopyOption.REPLACE_EXISTING);
      return new OnnxFile(target, data);
    } finally {
      Files.deleteIfExists(temporary);
    }
  }

  /** Where each weight begins in a data file. */
  private static List<Long> offsets(OnnxGraph graph) {
    List<Long> offsets = new ArrayList<>();
    long at = 0;
    for (Weight weight : graph.weights()) {
      at = (at + PAGE - 1) / PAGE * PAGE;
      offsets.add(at);
      at += weight.stored().bytes();
    }
    return offsets;
  }

  /**
   * Runs ONNX's own checker and its shape inference on a file, in strict mode.
   *
   * @throws IOException with the checker's words, if the file does not pass
   */
  public static void check(Path model) throws IOException {
    try {
      onnx.check_model(model.toString(), true, false, false);
    } catch (RuntimeException e) {
      throw new IOException(model + " does not pass the ONNX checker: " + e.getMessage(), e);
    }
  }

  private static final class Writer {
    private final OnnxGraph graph;
    private final TensorSource checkpoint;
    private final LongConsumer progress;
    private final List<Long> offsets;

    Writer(OnnxGraph graph, TensorSource checkpoint, LongConsumer progress) {
      this.graph = graph;
      this.checkpoint = checkpoint;
      this.progress = progress;
      this.offsets = offsets(graph);
    }

    void writeData(Path data) throws IOException {
      try (FileChannel out =
          FileChannel.open(data, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        for (int i = 0; i < offsets.size(); i++) {
          out.position(offsets.get(i));
          writeValues(out, graph.weights().get(i));
        }
        out.force(true);
      }
    }

    /** The model with its graph as the last field, and the graph with its weights as the last. */
    void writeModel(Path model, Optional<Path> data) throws IOException {
      byte[] head = graph.model().toBytes();
      byte[] nodes = graph.graph().toBytes();
      List<byte[]> tensors = new ArrayList<>();
      long graphBytes = nodes.length;
      for (int i = 0; i < graph.weights().size(); i++) {
        Weight weight = graph.weights().get(i);
        byte[] tensor = tensorHead(weight, data, i);
        tensors.add(tensor);
        long bytes = tensor.length + valueBytes(weight, data);
        graphBytes += fieldHead(GraphProto.kInitializerFieldNumber, bytes) + bytes;
      }
      try (FileChannel channel =
          FileChannel.open(model, StandardOpenOption.CREATE_NEW, StandardOpenOption.WRITE)) {
        CodedOutputStream out = CodedOutputStream.newInstance(Channels.newOutputStream(channel));
        out.writeRawBytes(head);
        startField(out, ModelProto.kGraphFieldNumber, graphBytes);
        out.writeRawBytes(nodes);
        for (int i = 0; i < tensors.size(); i++) {
          Weight weight = graph.weights().get(i);
          startField(
              out,
              GraphProto.kInitializerFieldNumber,
              tensors.get(i).length + valueBytes(weight, data));
          out.writeRawBytes(tensors.get(i));
          if (data.isEmpty()) {
            startField(out, TensorProto.kRawDataFieldNumber, weight.stored().bytes());
            out.flush();
            writeValues(channel, weight);
          }
        }
        out.flush();
        channel.force(true);
      }
    }

    private byte[] tensorHead(Weight weight, Optional<Path> data, int index) {
      Message tensor =
          Onnx.tensor(weight.name(), weight.stored().dtype(), weight.stored().shape().dims());
      if (data.isPresent()) {
        tensor
            .message(
                TensorProto.kExternalDataFieldNumber,
                Onnx.entry("location", data.get().getFileName().toString()))
            .message(
                TensorProto.kExternalDataFieldNumber,
                Onnx.entry("offset", offsets.get(index).toString()))
            .message(
                TensorProto.kExternalDataFieldNumber,
                Onnx.entry("length", Long.toString(weight.stored().bytes())))
            .number(TensorProto.kDataLocationFieldNumber, onnx.TensorProto_DataLocation_EXTERNAL);
      }
      return tensor.toBytes();
    }

    /** Bytes that the values take inside the tensor's message. */
    private static long valueBytes(Weight weight, Optional<Path> data) {
      long bytes = weight.stored().bytes();
      return data.isPresent() ? 0 : fieldHead(TensorProto.kRawDataFieldNumber, bytes) + bytes;
    }

    private static int fieldHead(int field, long bytes) {
      return CodedOutputStream.computeTagSize(field)
          + CodedOutputStream.computeUInt64SizeNoTag(bytes);
    }

    private static void startField(CodedOutputStream out, int field, long bytes)
        throws IOException {
      out.writeTag(field, WireFormat.WIRETYPE_LENGTH_DELIMITED);
      out.writeUInt64NoTag(bytes);
    }

    private void writeValues(FileChannel out, Weight weight) throws IOException {
      DType type = weight.stored().dtype();
      for (String part : weight.parts()) {
        HostTensor tensor = checkpoint.tensor(part);
        ByteBuffer values = tensor.to(type).bytes();
        if (type != tensor.dtype()) {
          requireInRange(tensor, values.duplicate().order(values.order()), type);
        }
        while (values.hasRemaining()) {
          out.write(values);
        }
      }
      progress.accept(weight.stored().bytes());
    }

    private void requireInRange(HostTensor original, ByteBuffer stored, DType type) {
      for (int i = 0; stored.hasRemaining(); i++) {
        float value =
            switch (type) {
              case F16 -> Half.fp16ToFloat(stored.getShort());
              case BF16 -> Half.bf16ToFloat(stored.getShort());
              default -> stored.getFloat();
            };
        if (Float.isInfinite(value)) {
          float found = original.toFloats()[i];
          if (!Float.isInfinite(found)) {
            throw new IllegalArgumentException(
                original.name()
                    + ": expected values that "
                    + type
                    + " can hold, found "
                    + found
                    + " in "
                    + checkpoint.where()
                    + "; store the weights as bf16 or f32");
          }
        }
      }
    }
  }
}
