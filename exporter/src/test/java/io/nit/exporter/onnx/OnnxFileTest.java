package io.nit.exporter.onnx;

import static io.nit.exporter.onnx.ParsedModels.parsed;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.safetensors.SafetensorsFile;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicLong;
import java.util.stream.Stream;
import org.bytedeco.onnx.ModelProto;
import org.bytedeco.onnx.TensorProto;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class OnnxFileTest {
  @TempDir Path folder;

  /** What is written passes onnx's checker: {@link OnnxFile#write} runs it before the rename. */
  @ParameterizedTest
  @CsvSource({
    "plain, F32",
    "patch2, BF16",
    "no_qk_norm, F16",
    "adaln_lora, F32",
    "head_dim72, F32"
  })
  void everyVariantPassesTheChecker(String variant, DType storage) throws IOException {
    NitConfig config = TestModels.variant(variant);
    OnnxFile file = write(config, storage, new SyntheticWeights(config, false), 1 << 30);
    OnnxFile.check(file.model());
    assertEquals(List.of("model.onnx"), names());
  }

  @Test
  void theCheckerRefusesAFileThatIsCutOff() throws IOException {
    OnnxFile file = write(TestModels.TINY, DType.F32, weights(), 1 << 30);
    byte[] whole = Files.readAllBytes(file.model());
    Path cut = folder.resolve("cut.onnx");
    Files.write(cut, java.util.Arrays.copyOf(whole, whole.length - 1));
    String message = assertThrows(IOException.class, () -> OnnxFile.check(cut)).getMessage();
    assertTrue(message.contains("cut.onnx does not pass the ONNX checker"), message);
  }

  @Test
  void weightsInsideAreTheCheckpointsBytes() throws IOException {
    OnnxFile file = write(TestModels.TINY, DType.F32, weights(), 1 << 30);
    assertTrue(file.data().isEmpty());
    ModelProto model = parsed(file.model());
    for (int i = 0; i < model.graph().initializer_size(); i++) {
      TensorProto tensor = model.graph().initializer(i);
      assertEquals(
          weights().tensor(tensor.name().getString()).bytes(), tensor.raw_data().asByteBuffer());
    }
    assertEquals(
        new NitGraph(TestModels.TINY, DType.F32).weights().size(),
        model.graph().initializer_size());
  }

  @Test
  void weightsBesideLieAtPagesAndAreTheCheckpointsBytes() throws IOException {
    OnnxFile file = write(TestModels.TINY, DType.F32, weights(), 0);
    assertEquals(List.of("model.onnx", "model.onnx.data"), names());
    ModelProto model = parsed(file.model());
    ByteBuffer data =
        ByteBuffer.wrap(Files.readAllBytes(file.data().orElseThrow()))
            .order(ByteOrder.LITTLE_ENDIAN);
    for (int i = 0; i < model.graph().initializer_size(); i++) {
      TensorProto tensor = model.graph().initializer(i);
      assertEquals("model.onnx.data", tensor.external_data(0).value().getString());
      int offset = Integer.parseInt(tensor.external_data(1).value().getString());
      int length = Integer.parseInt(tensor.external_data(2).value().getString());
      assertEquals(0, offset % 4096);
      assertEquals(weights().tensor(tensor.name().getString()).bytes(), data.slice(offset, length));
    }
    assertTrue(Files.size(file.model()) < 200_000, "the weights are not in the graph's file too");
  }

  @Test
  void theSameCheckpointGivesTheSameBytes() throws IOException {
    byte[] first = Files.readAllBytes(write(TestModels.TINY, DType.BF16, weights(), 0).model());
    byte[] second = Files.readAllBytes(write(TestModels.TINY, DType.BF16, weights(), 0).model());
    assertArrayEquals(first, second);
  }

  @Test
  void theProjectorIsLeftOut() throws IOException {
    OnnxFile with =
        write(TestModels.TINY, DType.F32, new SyntheticWeights(TestModels.TINY, true), 1 << 30);
    assertFalse(new String(Files.readAllBytes(with.model())).contains("projector."));
  }

  @Test
  void aCheckpointOfAnotherConfigIsNamedTensorByTensor() {
    NitConfig other = TestModels.TINY.with(Map.of("depth", 3, "in_channels", 3));
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> write(other, DType.F32, weights(), 1 << 30))
            .getMessage();
    assertTrue(
        message.contains("x_embedder.proj.weight: expected [48, 3, 1, 1], found [48, 4, 1, 1]"),
        message);
    assertTrue(message.contains("blocks.2.attn.qkv.weight: expected [144, 48], found nothing"));
    assertEquals(List.of(), names());
  }

  @Test
  void aValueBeyondHalfPrecisionIsRefusedWithItsNameAndNothingIsLeft() throws IOException {
    Path checkpoint = folder.resolve("big.safetensors");
    SafetensorsWriter writer = new SafetensorsWriter();
    for (String name : weights().specs().keySet()) {
      HostTensor tensor = weights().tensor(name);
      if (name.equals("blocks.1.mlp.fc1.bias")) {
        float[] values = tensor.toFloats();
        values[7] = -70_000;
        tensor = HostTensor.of(name, values, values.length);
      }
      writer.add(tensor);
    }
    writer.write(checkpoint);
    try (TensorSource source = SafetensorsFile.open(checkpoint)) {
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> write(TestModels.TINY, DType.F16, source, 1 << 30))
              .getMessage();
      assertTrue(message.contains("blocks.1.mlp.fc1.bias") && message.contains("-70000"), message);
      assertEquals(List.of("big.safetensors"), names());
      write(TestModels.TINY, DType.BF16, source, 1 << 30);
    }
  }

  @Test
  void progressCountsEveryByteOnce() throws IOException {
    AtomicLong bytes = new AtomicLong();
    NitGraph graph = new NitGraph(TestModels.TINY, DType.F16);
    OnnxFile.write(graph, weights(), folder.resolve("model.onnx"), 0, bytes::addAndGet);
    assertEquals(graph.weightBytes(), bytes.get());
  }

  @ParameterizedTest
  @CsvSource({"0", "1073741824"})
  void stoppingHalfWayLeavesTheOldFileAndNothingElse(long externalDataAbove) throws IOException {
    Path target = folder.resolve("model.onnx");
    Files.writeString(target, "old");
    AtomicLong weightsDone = new AtomicLong();
    assertThrows(
        CancellationException.class,
        () ->
            OnnxFile.write(
                new NitGraph(TestModels.TINY, DType.F32),
                weights(),
                target,
                externalDataAbove,
                bytes -> {
                  if (weightsDone.incrementAndGet() == 9) {
                    throw new CancellationException();
                  }
                }));
    assertEquals("old", Files.readString(target));
    assertEquals(List.of("model.onnx"), names());
  }

  private static SyntheticWeights weights() {
    return new SyntheticWeights(TestModels.TINY, false);
  }

  private OnnxFile write(NitConfig config, DType storage, TensorSource from, long externalAbove)
      throws IOException {
    return OnnxFile.write(
        new NitGraph(config, storage),
        from,
        folder.resolve("model.onnx"),
        externalAbove,
        bytes -> {});
  }

  private List<String> names() {
    try (Stream<Path> files = Files.list(folder)) {
      return files.map(f -> f.getFileName().toString()).sorted().toList();
    } catch (IOException e) {
      throw new java.io.UncheckedIOException(e);
    }
  }
}
