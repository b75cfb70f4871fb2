package io.nit.exporter.onnx;

import static io.nit.exporter.onnx.NitGraphTest.parsed;
import static io.nit.exporter.onnx.NitGraphTest.signature;
import static io.nit.exporter.onnx.ParsedModels.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.nit.core.codec.Decoded;
import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.DcAeTensors;
import io.nit.core.tensor.TensorSpec;
import io.nit.exporter.onnx.DcAeGraph.Part;
import io.nit.runtime.engine.ref.DcAeForward;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.bytedeco.onnx.GraphProto;
import org.bytedeco.onnx.ModelProto;
import org.bytedeco.onnx.NodeProto;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;

class DcAeGraphTest {
  private static final double BOUND = 5e-5;
  // Latent heights and widths: one cell, both ways non-square, odd, more tokens than d.
  private static final int[][] SIZES = {{1, 1}, {3, 1}, {5, 7}, {2, 9}};

  @TempDir Path folder;

  static Stream<String> family() {
    return Arrays.stream(TestAutoencoders.NAMES);
  }

  @ParameterizedTest
  @MethodSource("family")
  void everyMemberEqualsTheReferenceAtEverySizeAndBatchInOneSession(String name)
      throws IOException, OrtException {
    DcAeConfig config = TestAutoencoders.of(name);
    GeneratedDcAe weights = new GeneratedDcAe(config);
    DcAeForward reference = new DcAeForward(weights, config);
    int f = config.factor();
    int c = config.latentChannels();
    try (OrtFile encoder = open(config, weights, Part.ENCODER);
        OrtFile decoder = open(config, weights, Part.DECODER)) {
      for (int[] size : SIZES) {
        int h = size[0];
        int w = size[1];
        for (int batch : new int[] {1, 3}) {
          float[] pictures = GeneratedDcAe.image(batch * h * f, w * f);
          float[] latents = GeneratedDcAe.latent(batch * c, h, w);
          float[] encoded = encoder.run(pictures, batch, 3, h * f, w * f);
          float[] decoded = decoder.run(latents, batch, c, h, w);
          for (int i = 0; i < batch; i++) {
            String at = name + " " + h + "x" + w + " picture " + i;
            within(
                at,
                part(encoded, batch, i),
                reference.encode(part(pictures, batch, i), h * f, w * f));
            within(at, part(decoded, batch, i), reference.decode(part(latents, batch, i), h, w));
          }
        }
      }
    }
  }

  @Test
  void batchHeightAndWidthAreDynamic() throws IOException {
    DcAeConfig config = TestAutoencoders.of("sana");
    assertEquals(
        List.of("rgb [batch, 3, height, width]", "latent [batch, 8, latent_height, latent_width]"),
        ports(new DcAeGraph(config, Part.ENCODER, DType.F32, DType.F32)));
    assertEquals(
        List.of("latent [batch, 8, latent_height, latent_width]", "rgb [batch, 3, height, width]"),
        ports(new DcAeGraph(config, Part.DECODER, DType.F16, DType.F16)));
  }

  @ParameterizedTest
  @MethodSource("family")
  void weightsAreTheCheckpointsUnderItsKeysEachInItsHalf(String name) {
    DcAeConfig config = TestAutoencoders.of(name);
    Set<String> names = new TreeSet<>();
    long bytes = 0;
    for (Part part : Part.values()) {
      DcAeGraph graph = new DcAeGraph(config, part, DType.F32, DType.F32);
      for (Weight weight : graph.weights()) {
        assertTrue(weight.name().startsWith(part.key() + "."), weight.name());
        assertTrue(names.add(weight.name()), weight.name());
      }
      bytes += graph.weightBytes();
    }
    Map<String, TensorSpec> expected = new TreeMap<>(DcAeTensors.of(config));
    expected.keySet().removeIf(key -> key.endsWith(".num_batches_tracked"));
    assertEquals(expected.keySet(), names);
    assertEquals(expected.values().stream().mapToLong(TensorSpec::bytes).sum(), bytes);
  }

  @ParameterizedTest
  @MethodSource("family")
  void noOperatorOrdersChannelsInAnotherWayAndNoSizeIsFrozen(String name) {
    for (Part part : Part.values()) {
      ModelProto model =
          parsed(new DcAeGraph(TestAutoencoders.of(name), part, DType.F32, DType.F32));
      for (int i = 0; i < model.graph().node_size(); i++) {
        NodeProto node = model.graph().node(i);
        String op = text(node.op_type());
        assertFalse(List.of("SpaceToDepth", "If", "Loop").contains(op), op);
        assertEquals("", text(node.domain()));
        if (op.equals("DepthToSpace")) {
          assertEquals("CRD", text(node.attribute(1).s()));
        }
      }
    }
  }

  @Test
  void onlyADecoderComputesInLessThanSinglePrecisionAndOnlyInHalf() {
    DcAeConfig config = TestAutoencoders.of("sana");
    for (DType compute : List.of(DType.F16, DType.BF16)) {
      Part part = compute == DType.F16 ? Part.ENCODER : Part.DECODER;
      String message =
          assertThrows(
                  IllegalArgumentException.class,
                  () -> new DcAeGraph(config, part, DType.F32, compute))
              .getMessage();
      assertTrue(message.contains(part.key() + ": expected to compute in F32"), message);
      assertTrue(message.contains("found " + compute), message);
    }
  }

  @Test
  void weightsBesideTheFileGiveTheSameBitsAsInside() throws IOException, OrtException {
    DcAeConfig config = TestAutoencoders.of("sana");
    float[] latent = GeneratedDcAe.latent(8, 3, 2);
    DcAeGraph graph = new DcAeGraph(config, Part.DECODER, DType.BF16, DType.F32);
    OnnxFile inside = write(graph, "inside.onnx", OnnxFile.EXTERNAL_DATA_ABOVE);
    OnnxFile beside = write(graph, "beside.onnx", 0);
    assertTrue(inside.data().isEmpty());
    assertTrue(beside.data().isPresent());
    assertArrayEquals(run(inside, latent, 1, 8, 3, 2), run(beside, latent, 1, 8, 3, 2));
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16"})
  void aHalfPrecisionDecoderIsNearTheSinglePrecisionOneThatSharesItsWeights(DType storage)
      throws IOException, OrtException {
    for (String name : List.of("sana", "first_family", "other_ratios")) {
      DcAeConfig config = TestAutoencoders.of(name);
      DcAeGraph half = new DcAeGraph(config, Part.DECODER, storage, DType.F16);
      DcAeGraph single = new DcAeGraph(config, Part.DECODER, storage, DType.F32);
      OnnxFile file = write(half, new GeneratedDcAe(config), name + ".onnx", 0);
      OnnxFile twin = file.share(single, folder.resolve(name + "-f32.onnx"));
      assertEquals(file.data(), twin.data());
      float[] latent = GeneratedDcAe.latent(8, 4, 3);
      float[] expected = run(twin, latent, 1, 8, 4, 3);
      double error = error(run(file, latent, 1, 8, 4, 3), expected);
      assertTrue(error > BOUND && error < 0.05, name + ": " + error);
      OnnxFile alone = write(single, new GeneratedDcAe(config), name + "-alone.onnx", 0);
      assertArrayEquals(run(alone, latent, 1, 8, 4, 3), expected);
    }
  }

  @Test
  void whatHalfPrecisionOverflowsOnSinglePrecisionDecodes() throws IOException, OrtException {
    DcAeConfig config = TestAutoencoders.of("sana");
    OnnxFile half =
        write(new DcAeGraph(config, Part.DECODER, DType.F32, DType.F16), "half.onnx", 0);
    OnnxFile single =
        half.share(
            new DcAeGraph(config, Part.DECODER, DType.F32, DType.F32),
            folder.resolve("single.onnx"));
    float[] latent = GeneratedDcAe.latent(8, 2, 2);
    for (int i = 0; i < latent.length; i++) {
      latent[i] *= 1e5f;
    }
    assertFalse(Decoded.finite(run(half, latent, 1, 8, 2, 2)));
    assertTrue(Decoded.finite(run(single, latent, 1, 8, 2, 2)));
  }

  @Test
  void aDataFileOfOtherWeightsIsNotShared() throws IOException {
    DcAeConfig config = TestAutoencoders.of("sana");
    OnnxFile encoder =
        write(new DcAeGraph(config, Part.ENCODER, DType.F32, DType.F32), "encoder.onnx", 0);
    DcAeGraph decoder = new DcAeGraph(config, Part.DECODER, DType.F32, DType.F32);
    Path target = folder.resolve("decoder.onnx");
    String message =
        assertThrows(IllegalArgumentException.class, () -> encoder.share(decoder, target))
            .getMessage();
    assertTrue(message.contains("decoder.onnx: expected a data file of"), message);
    OnnxFile inside = write(decoder, "inside.onnx", OnnxFile.EXTERNAL_DATA_ABOVE);
    assertThrows(IllegalArgumentException.class, () -> inside.share(decoder, target));
    assertFalse(Files.exists(target));
  }

  private static float[] run(OnnxFile file, float[] values, long... shape) throws OrtException {
    try (OrtFile open = new OrtFile(file.model())) {
      return open.run(values, shape);
    }
  }

  private OnnxFile write(DcAeGraph graph, String name, long externalAbove) throws IOException {
    return write(graph, new GeneratedDcAe(TestAutoencoders.of("sana")), name, externalAbove);
  }

  private OnnxFile write(DcAeGraph graph, GeneratedDcAe weights, String name, long externalAbove)
      throws IOException {
    return OnnxFile.write(graph, weights, folder.resolve(name), externalAbove, bytes -> {});
  }

  private static List<String> ports(DcAeGraph graph) {
    GraphProto proto = parsed(graph).graph();
    assertEquals(1, proto.input_size());
    assertEquals(1, proto.output_size());
    return List.of(signature(proto.input(0)), signature(proto.output(0)));
  }

  private OrtFile open(DcAeConfig config, GeneratedDcAe weights, Part part)
      throws IOException, OrtException {
    DcAeGraph graph = new DcAeGraph(config, part, DType.F32, DType.F32);
    String name = part.key() + ".onnx";
    return new OrtFile(write(graph, weights, name, OnnxFile.EXTERNAL_DATA_ABOVE).model());
  }

  private static float[] part(float[] batch, int count, int i) {
    int size = batch.length / count;
    return Arrays.copyOfRange(batch, i * size, (i + 1) * size);
  }

  private static void within(String what, float[] found, float[] expected) {
    double error = error(found, expected);
    assertTrue(error <= BOUND, what + ": " + error);
  }

  /** The largest difference over the spread of what is expected. */
  private static double error(float[] found, float[] expected) {
    assertEquals(expected.length, found.length);
    double mean = 0;
    double squares = 0;
    double largest = 0;
    for (int i = 0; i < expected.length; i++) {
      mean += expected[i] / (double) expected.length;
      squares += (double) expected[i] * expected[i] / expected.length;
      largest = Math.max(largest, Math.abs((double) found[i] - expected[i]));
    }
    return Double.isNaN(largest)
        ? Double.POSITIVE_INFINITY
        : largest / Math.sqrt(squares - mean * mean);
  }
}
