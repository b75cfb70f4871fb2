package io.nit.runtime.ort;

import ai.onnxruntime.NodeInfo;
import ai.onnxruntime.OnnxJavaType;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import ai.onnxruntime.TensorInfo;
import io.nit.core.config.NitConfig;
import io.nit.runtime.engine.EngineException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.Map;

/** What a model file takes and gives: names, element types and shapes, -1 where dynamic. */
final class ModelSignature {
  private record Port(OnnxJavaType type, long... shape) {}

  private ModelSignature() {}

  /**
   * Compares a loaded NiT model with what its config calls for.
   *
   * @param packed whether its attention is {@link PackedAttention}
   * @throws EngineException naming the first input or output that is missing, unknown or different
   */
  static void check(OrtSession session, NitConfig config, boolean packed, Path file)
      throws EngineException, OrtException {
    long p = config.patchSize();
    Map<String, Port> inputs = new LinkedHashMap<>();
    inputs.put("x", new Port(OnnxJavaType.FLOAT, -1, config.inChannels(), p, p));
    inputs.put("t", new Port(OnnxJavaType.FLOAT, -1));
    inputs.put("y", new Port(OnnxJavaType.INT64, -1));
    inputs.put("cu_seqlens", new Port(OnnxJavaType.INT32, -1));
    inputs.put("image_index", new Port(OnnxJavaType.INT32, -1));
    inputs.put("rope_cos", new Port(OnnxJavaType.FLOAT, -1, config.headDim()));
    inputs.put("rope_sin", new Port(OnnxJavaType.FLOAT, -1, config.headDim()));
    if (packed) {
      inputs.put(PackedAttention.SHAPE, new Port(OnnxJavaType.INT64, 2));
    }
    Map<String, Port> outputs =
        Map.of("v", new Port(OnnxJavaType.FLOAT, -1, config.inChannels(), p, p));
    compare("input", inputs, session.getInputInfo(), file);
    compare("output", outputs, session.getOutputInfo(), file);
  }

  /**
   * Compares a loaded network between planes, such as a decoder, with what it should be: {@code
   * from} [batch, fromChannels, h, w] to {@code to} [batch, toChannels, h', w'], single precision,
   * every extent but the channels dynamic.
   *
   * @throws EngineException naming the first input or output that is missing, unknown or different
   */
  static void checkPlanes(
      OrtSession session, String from, int fromChannels, String to, int toChannels, Path file)
      throws EngineException, OrtException {
    Port input = new Port(OnnxJavaType.FLOAT, -1, fromChannels, -1, -1);
    Port output = new Port(OnnxJavaType.FLOAT, -1, toChannels, -1, -1);
    compare("input", Map.of(from, input), session.getInputInfo(), file);
    compare("output", Map.of(to, output), session.getOutputInfo(), file);
  }

  private static void compare(
      String kind, Map<String, Port> expected, Map<String, NodeInfo> found, Path file)
      throws EngineException {
    if (!expected.keySet().equals(found.keySet())) {
      throw new EngineException(
          kind + "s: expected " + expected.keySet() + ", found " + found.keySet() + " in " + file);
    }
    for (Map.Entry<String, Port> entry : expected.entrySet()) {
      Port port = entry.getValue();
      if (!(found.get(entry.getKey()).getInfo() instanceof TensorInfo tensor)
          || tensor.type != port.type
          || !fits(port.shape, tensor.getShape())) {
        throw new EngineException(
            kind
                + " "
                + entry.getKey()
                + ": expected "
                + port.type
                + " "
                + Arrays.toString(port.shape)
                + " (-1: dynamic), found "
                + found.get(entry.getKey()).getInfo()
                + " in "
                + file);
      }
    }
  }

  private static boolean fits(long[] expected, long[] found) {
    if (expected.length != found.length) {
      return false;
    }
    for (int i = 0; i < expected.length; i++) {
      // A size that the config fixes may be left open in the file, but not the other way round.
      if (found[i] != -1 && found[i] != expected[i]) {
        return false;
      }
    }
    return true;
  }
}
