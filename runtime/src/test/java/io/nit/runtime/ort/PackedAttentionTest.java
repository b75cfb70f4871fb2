package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.nit.core.config.NitConfig;
import io.nit.core.io.ProtobufField;
import io.nit.core.ops.NitOps;
import io.nit.core.packing.PackLayout;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What can be told without a GPU: the kernel itself is there only. */
class PackedAttentionTest {
  private static final NitConfig CONFIG =
      NitConfig.s().with(Map.of("hidden_size", 144, "num_heads", 2, "depth", 4));

  @TempDir Path folder;

  private Path write(byte[] model) throws IOException {
    return Files.write(folder.resolve("model.onnx"), model);
  }

  /** A graph of one attention, between qkv [6, 432] and out [6, 144]. */
  private static OnnxMessage model(String domain, String op) {
    OnnxMessage graph = new OnnxMessage();
    graph.message(
        1, OnnxMessage.node(domain, op, List.of("qkv", "cu_seqlens"), List.of("attended")));
    graph.message(1, OnnxMessage.node("", "Identity", List.of("attended"), List.of("out")));
    graph.text(2, "one attention");
    graph.message(11, OnnxMessage.value("qkv", OnnxMessage.FLOAT, 6, 432));
    graph.message(11, OnnxMessage.value("cu_seqlens", OnnxMessage.INT32, 3));
    graph.message(12, OnnxMessage.value("out", OnnxMessage.FLOAT, 6, 144));
    return OnnxMessage.model(graph, 9, 20).message(8, OnnxMessage.opset(NitOps.DOMAIN, 1));
  }

  @Test
  void theChangedFileIsAValidGraphThatOnlyWantsTheKernel() throws Exception {
    byte[] changed =
        PackedAttention.rewritten(
            write(model(NitOps.DOMAIN, NitOps.VARLEN_ATTENTION.name()).toBytes()), CONFIG);
    try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions()) {
      String message =
          assertThrows(
                  OrtException.class,
                  () -> OrtNative.environment().createSession(changed, settings).close())
              .getMessage();
      // Names, types and shapes were found right before kernels were looked for.
      assertTrue(
          message.contains("PackedMultiHeadAttention") && message.contains("NOT_IMPLEMENTED"),
          message);
    }
  }

  @Test
  void aFileWithoutSuchNodesAndNoFileAtAllAreRefused() throws Exception {
    Path other = write(model("", "Gather").toBytes());
    String message =
        assertThrows(IllegalArgumentException.class, () -> PackedAttention.rewritten(other, CONFIG))
            .getMessage();
    assertTrue(message.contains("NitVarlenAttention"), message);
    Path none = write(new byte[] {58, 100, 1});
    assertThrows(IllegalArgumentException.class, () -> PackedAttention.rewritten(none, CONFIG));
    assertThrows(
        NoSuchFileException.class,
        () -> PackedAttention.rewritten(folder.resolve("absent.onnx"), CONFIG));
  }

  @Test
  void aMessageThatIsTakenApartAndPutTogetherIsTheSame() {
    byte[] model = model(NitOps.DOMAIN, NitOps.VARLEN_ATTENTION.name()).number(99, 2.5f).toBytes();
    OnnxMessage copy = new OnnxMessage();
    ProtobufField.of(ByteBuffer.wrap(model)).forEach(copy::field);
    assertArrayEquals(model, copy.toBytes());
  }

  @Test
  void shortImagesAreSaidToBeLongEnoughForTheKernel() {
    assertArrayEquals(
        new long[] {2, 256},
        PackedAttention.shape(PackLayout.of(new int[] {3, 1}, new int[] {5, 1})));
    assertArrayEquals(
        new long[] {3, 800},
        PackedAttention.shape(PackLayout.of(new int[] {3, 32, 1}, new int[] {5, 25, 1})));
    assertTrue(PackedAttention.takes(CONFIG));
    assertFalse(PackedAttention.takes(CONFIG.with(Map.of("hidden_size", 24))));
  }

  @Test
  void theProbeOfAGpuIsAModelThatRuns() throws Exception {
    OrtEnvironment environment = OrtNative.environment();
    FloatBuffer x = FloatBuffer.allocate(64);
    for (int i = 0; i < 64; i++) {
      x.put(i, 2);
    }
    try (OrtSession.SessionOptions settings = new OrtSession.SessionOptions();
        OrtSession session = environment.createSession(CudaProbe.model(), settings);
        OnnxTensor in = OnnxTensor.createTensor(environment, x, new long[] {1, 1, 8, 8});
        OrtSession.Result result = session.run(Map.of("x", in))) {
      FloatBuffer mean = ((OnnxTensor) result.get(0)).getFloatBuffer();
      assertEquals(8, mean.remaining());
      assertEquals(2 * 2 * 8, mean.get(0));
    }
  }
}
