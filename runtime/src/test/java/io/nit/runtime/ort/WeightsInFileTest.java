package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtSession;
import com.sun.management.ThreadMXBean;
import io.nit.core.config.NitConfig;
import io.nit.core.io.ProtobufField;
import io.nit.core.ops.NitOps;
import io.nit.runtime.engine.EngineOptions;
import java.io.IOException;
import java.lang.management.ManagementFactory;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.channels.FileChannel;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.nio.file.StandardOpenOption;
import java.util.List;
import java.util.Map;
import java.util.Random;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class WeightsInFileTest {
  private static final int SIDE = 99;
  private static final int F16 = 10;
  private static final int BF16 = 16;
  private static final int WEIGHTS = 300_000_000;

  @TempDir Path folder;

  // ------------------------------------------------------------------ bits

  /** Three products and a sum with weights of each type, behind so many bytes. */
  private static OnnxMessage graph(int padding) {
    Random random = new Random(3);
    OnnxMessage graph = new OnnxMessage().text(10, "-".repeat(padding));
    String in = "x";
    for (String type : List.of("bf16", "f16", "f32")) {
      cast(graph, type + ".w", type + ".floats");
      graph.message(
          1, OnnxMessage.node("", "MatMul", List.of(in, type + ".floats"), List.of(type)));
      in = type;
    }
    graph.message(1, OnnxMessage.node("", "Add", List.of(in, "table"), List.of("y")));
    graph.text(2, "products");
    graph.message(5, weight(random, "bf16.w", BF16));
    graph.message(5, weight(random, "f16.w", F16));
    graph.message(5, weight(random, "f32.w", OnnxMessage.FLOAT));
    graph.message(5, weight(random, "table", OnnxMessage.FLOAT));
    graph.message(11, OnnxMessage.value("x", OnnxMessage.FLOAT, SIDE, SIDE));
    return graph.message(12, OnnxMessage.value("y", OnnxMessage.FLOAT, SIDE, SIDE));
  }

  private static void cast(OnnxMessage graph, String from, String to) {
    graph.message(
        1,
        OnnxMessage.node(
            "",
            "Cast",
            List.of(from),
            List.of(to),
            OnnxMessage.attribute("to", OnnxMessage.FLOAT)));
  }

  /** Values of about 0.1, whose higher bits are those of all three types. */
  private static OnnxMessage weight(Random random, String name, int type) {
    int bytes = type == OnnxMessage.FLOAT ? 4 : 2;
    byte[] values = new byte[SIDE * SIDE * bytes];
    random.nextBytes(values);
    for (int i = bytes - 1; i < values.length; i += bytes) {
      values[i] = (byte) ((type == F16 ? 0x2c : 0x3d) | values[i] & 0x80);
    }
    assertTrue(values.length > WeightsInFile.COPIED_UP_TO);
    return OnnxMessage.tensor(name, type, values, SIDE, SIDE);
  }

  private static byte[] withWeightsInFile(Path model) throws IOException {
    OnnxMessage changed = new OnnxMessage();
    for (ProtobufField field : ProtobufField.of(WeightsInFile.map(model))) {
      if (field.number() == 7) {
        OnnxMessage graph = new OnnxMessage();
        for (ProtobufField part : ProtobufField.of(field.value())) {
          if (part.number() == 5) {
            WeightsInFile.add(graph, part, model.getFileName().toString());
          } else {
            graph.field(part);
          }
        }
        changed.message(7, graph);
      } else {
        changed.field(field);
      }
    }
    return changed.toBytes();
  }

  private static float[] run(OrtSession session) throws Exception {
    OrtEnvironment environment = OrtNative.environment();
    FloatBuffer x = FloatBuffer.allocate(SIDE * SIDE);
    Random random = new Random(5);
    for (int i = 0; i < SIDE * SIDE; i++) {
      x.put(i, random.nextFloat() - 0.5f);
    }
    try (session;
        OnnxTensor in = OnnxTensor.createTensor(environment, x, new long[] {SIDE, SIDE});
        OrtSession.Result result = session.run(Map.of("x", in))) {
      FloatBuffer y = ((OnnxTensor) result.get(0)).getFloatBuffer();
      float[] values = new float[y.remaining()];
      y.get(values);
      return values;
    }
  }

  private static OrtSession open(Path model, byte[] changed) throws Exception {
    return OrtSessions.open(model, changed, EngineOptions.DEFAULT, more -> {}, opened -> {});
  }

  @Test
  void theBitsAreThoseOfTheFileWhereverItsWeightsBegin() throws Exception {
    Path model = folder.resolve("model.onnx");
    // A protobuf file puts weights at any byte, odd ones as well.
    for (int padding = 0; padding < 9; padding++) {
      byte[] whole = OnnxMessage.model(graph(padding), 9, 20).toBytes();
      Files.write(model, whole);
      byte[] changed = withWeightsInFile(model);
      assertTrue(changed.length < 2000, changed.length + " bytes");
      float[] expected =
          run(OrtSessions.open(model, EngineOptions.DEFAULT, more -> {}, opened -> {}));
      assertArrayEquals(expected, run(open(model, changed)), "padding " + padding);
      assertTrue(Math.abs(expected[7]) > 1e-3 && Float.isFinite(expected[7]), "" + expected[7]);
    }
  }

  // ------------------------------------------------------------------ heap

  /** A field of type 2 without its value. */
  private static byte[] head(int field, long length) {
    byte[] head = new OnnxMessage().number(field, length).toBytes();
    head[0] |= 2;
    return head;
  }

  /** A model of one attention and a weight that is a hole in its file; where that begins. */
  private static long writeLarge(Path model) throws IOException {
    OnnxMessage nodes =
        new OnnxMessage()
            .message(
                1,
                OnnxMessage.node(
                    NitOps.DOMAIN,
                    NitOps.VARLEN_ATTENTION.name(),
                    List.of("qkv", "cu_seqlens"),
                    List.of("out")));
    byte[] tensor = new OnnxMessage().number(1, WEIGHTS).number(2, 2).text(8, "w").toBytes();
    byte[] raw = head(9, WEIGHTS);
    long tensorBytes = tensor.length + raw.length + (long) WEIGHTS;
    byte[] initializer = head(5, tensorBytes);
    byte[] graph = nodes.toBytes();
    ByteBuffer start =
        ByteBuffer.allocate(1000)
            .put(new OnnxMessage().number(1, 9).toBytes())
            .put(head(7, graph.length + initializer.length + tensorBytes))
            .put(graph)
            .put(initializer)
            .put(tensor)
            .put(raw)
            .flip();
    int at = start.remaining();
    try (FileChannel file =
        FileChannel.open(
            model,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.SPARSE)) {
      file.write(start);
      byte[] end = new OnnxMessage().message(8, OnnxMessage.opset("", 20)).toBytes();
      file.write(ByteBuffer.wrap(end), at + (long) WEIGHTS);
    }
    return at;
  }

  @Test
  void theHeapHoldsTheGraphAndNotTheWeights() throws Exception {
    Path model = folder.resolve("large.onnx");
    long at = writeLarge(model);
    NitConfig config = NitConfig.s();
    ThreadMXBean thread = (ThreadMXBean) ManagementFactory.getThreadMXBean();
    long before = thread.getCurrentThreadAllocatedBytes();
    byte[] changed = PackedAttention.rewritten(model, config);
    long allocated = thread.getCurrentThreadAllocatedBytes() - before;
    assertTrue(allocated < WEIGHTS / 100, allocated + " bytes of heap");
    assertTrue(changed.length < 1000, changed.length + " bytes");
    String text = new String(changed, StandardCharsets.ISO_8859_1);
    assertTrue(text.contains("large.onnx") && text.contains(Integer.toString(WEIGHTS)), text);
    assertTrue(text.contains(Long.toString(at)), text);
  }

  @Test
  void aFileThatIsLargerThanAMessageIsRefused() throws Exception {
    Path model = folder.resolve("larger.onnx");
    try (FileChannel file =
        FileChannel.open(
            model,
            StandardOpenOption.CREATE_NEW,
            StandardOpenOption.WRITE,
            StandardOpenOption.SPARSE)) {
      file.write(ByteBuffer.allocate(1), 1L << 31);
    }
    String message =
        assertThrows(IllegalArgumentException.class, () -> WeightsInFile.map(model)).getMessage();
    assertEquals("expected an ONNX file of at most 2147483647 bytes, found 2147483649", message);
  }
}
