package io.nit.tests.parity;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.config.NitConfig;
import io.nit.core.packing.PackLayout;
import io.nit.exporter.testing.SyntheticModel;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.ForwardInputs;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.IntBuffer;
import java.nio.LongBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/**
 * What attention costs in ONNX Runtime, from its profile: the size of every node's output, those
 * inside the Loop included.
 */
class AttentionCostTest {
  private static final NitConfig CONFIG =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size", 32,
                  "depth", 2,
                  "num_heads", 2,
                  "in_channels", 4,
                  "num_classes", 5,
                  "encoder_depth", 1));

  @TempDir Path folder;

  private record Node(String op, long outputBytes) {}

  @Test
  void scoresAreTheSumOfTheImagesOwnSquares() throws IOException, OrtException {
    int[] side = new int[64];
    Arrays.fill(side, 8);
    PackLayout pack = PackLayout.of(side, side); // 64 images of 64 tokens: 4,096 tokens
    Node[] nodes = profile(pack);
    long scores = 0;
    long largest = 0;
    for (Node node : nodes) {
      if (node.op.equals("Softmax")) {
        scores += node.outputBytes;
      }
      largest = Math.max(largest, node.outputBytes);
    }
    long squares = 64L * 64 * 64;
    assertEquals(CONFIG.depth() * CONFIG.numHeads() * squares * Float.BYTES, scores);
    // The MLP's hidden tokens are the largest of what grows with the pack; one head's scores of the
    // whole pack would be 32 times that.
    assertEquals((long) pack.tokens() * CONFIG.mlpHidden() * Float.BYTES, largest);
  }

  @Test
  void aLargeImageIsAttendedInStepsOfBoundedSize() throws IOException, OrtException {
    PackLayout pack = PackLayout.of(new int[] {40, 1}, new int[] {50, 1}); // 2,000 and 1 tokens
    long scores = 0;
    long largest = 0;
    for (Node node : profile(pack)) {
      if (node.op.equals("Softmax")) {
        scores += node.outputBytes;
        largest = Math.max(largest, node.outputBytes);
      }
    }
    assertEquals(CONFIG.depth() * CONFIG.numHeads() * (2000L * 2000 + 1) * Float.BYTES, scores);
    assertTrue(largest <= CONFIG.numHeads() * 512L * 2000 * Float.BYTES, "largest: " + largest);
  }

  private Node[] profile(PackLayout pack) throws IOException, OrtException {
    Path model = SyntheticModel.write(CONFIG, folder);
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    ForwardInputs in = VerificationPack.of(CONFIG, pack).inputs();
    long n = pack.tokens();
    long b = pack.images();
    long d = CONFIG.headDim();
    Path profile;
    Map<String, OnnxTensor> inputs = new HashMap<>();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions()) {
      options.enableProfiling(folder.resolve("profile").toString());
      try (OrtSession session = environment.createSession(model.toString(), options)) {
        inputs.put(
            "x",
            OnnxTensor.createTensor(
                environment, in.x(), new long[] {n, CONFIG.inChannels(), 1, 1}));
        inputs.put(
            "t", OnnxTensor.createTensor(environment, FloatBuffer.wrap(in.t()), new long[] {b}));
        inputs.put(
            "y", OnnxTensor.createTensor(environment, LongBuffer.wrap(in.y()), new long[] {b}));
        inputs.put(
            "cu_seqlens",
            OnnxTensor.createTensor(
                environment, IntBuffer.wrap(pack.cuSeqlens()), new long[] {b + 1}));
        inputs.put(
            "image_index",
            OnnxTensor.createTensor(
                environment, IntBuffer.wrap(pack.imageIndex()), new long[] {n}));
        inputs.put(
            "rope_cos",
            OnnxTensor.createTensor(
                environment, FloatBuffer.wrap(in.rope().cos()), new long[] {n, d}));
        inputs.put(
            "rope_sin",
            OnnxTensor.createTensor(
                environment, FloatBuffer.wrap(in.rope().sin()), new long[] {n, d}));
        session.run(inputs).close();
        profile = Path.of(session.endProfiling());
      } finally {
        inputs.values().forEach(OnnxTensor::close);
      }
    }
    JsonNode events = new ObjectMapper().readTree(Files.readAllBytes(profile));
    List<Node> nodes = new ArrayList<>();
    for (JsonNode event : events) {
      JsonNode args = event.path("args");
      if (args.has("output_size") && event.path("name").asText().endsWith("_kernel_time")) {
        nodes.add(new Node(args.path("op_name").asText(), args.path("output_size").asLong()));
      }
    }
    return nodes.toArray(Node[]::new);
  }
}
