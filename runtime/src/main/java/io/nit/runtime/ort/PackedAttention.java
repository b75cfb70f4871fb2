package io.nit.runtime.ort;

import io.nit.core.config.NitConfig;
import io.nit.core.io.ProtobufField;
import io.nit.core.ops.NitOps;
import io.nit.core.packing.PackLayout;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Path;
import java.util.List;

/**
 * A model file with its attention given to ONNX Runtime's own CUDA kernel for packed sequences,
 * {@code com.microsoft::PackedMultiHeadAttention}. The local function that the file brings along
 * loops over the images: on a GPU each turn reads four bounds back to the CPU and launches a dozen
 * small kernels, in every block, while the kernel takes all images of a pack at once.
 *
 * <p>In single precision ONNX Runtime takes the memory-efficient kernel (exact softmax in blocks,
 * no scores in memory, products of the GPU's matrix units split so that they keep float's digits)
 * for heads of a multiple of 8 and where the longest image is said to have at least 256 tokens, and
 * otherwise pads all images to the longest. So it is always told 256 or more, which only sizes the
 * launch: where an image ends is read from {@code cu_seqlens}. The padding's {@code token_offset}
 * must be there and is never read; zeros of its shape are made once a forward, from the input
 * {@link #SHAPE} that stays on the CPU.
 *
 * <p>Legend: N tokens, B images, S the longest image, D hidden.
 */
final class PackedAttention {
  /** int64 [2], the shape [B, S] of the padding's offsets. */
  static final String SHAPE = "token_offset_shape";

  private static final String MICROSOFT = "com.microsoft";
  private static final String OFFSET = "token_offset";

  /** From here on single precision has the memory-efficient kernel. */
  private static final int LEAST_LONGEST = 256;

  private PackedAttention() {}

  /** Whether the kernel takes the heads of a model. */
  static boolean takes(NitConfig config) {
    return config.headDim() % 8 == 0;
  }

  /** The value of {@link #SHAPE} for a pack. */
  static long[] shape(PackLayout layout) {
    int longest = LEAST_LONGEST;
    for (int i = 0; i < layout.images(); i++) {
      longest = Math.max(longest, layout.tokens(i));
    }
    return new long[] {layout.images(), longest};
  }

  /**
   * Puts the kernel in the place of every {@code NitVarlenAttention}. The weights stay where they
   * are, in the file and in those beside it.
   *
   * @param model an ONNX file
   * @return the changed graph, to be loaded from the file's folder
   * @throws java.nio.file.NoSuchFileException if there is no such file
   * @throws IllegalArgumentException if it is no ONNX file or holds no such node
   */
  static byte[] rewritten(Path model, NitConfig config) throws IOException {
    String file = model.getFileName().toString();
    OnnxMessage changed = new OnnxMessage();
    for (ProtobufField field : ProtobufField.of(WeightsInFile.map(model))) {
      if (field.number() == 7) {
        changed.message(7, graph(field.value(), file, config));
      } else {
        changed.field(field);
      }
    }
    return changed.message(8, OnnxMessage.opset(MICROSOFT, 1)).toBytes();
  }

  private static OnnxMessage graph(ByteBuffer graph, String file, NitConfig config) {
    OnnxMessage changed = new OnnxMessage();
    changed.message(
        1,
        OnnxMessage.node(
            "",
            "ConstantOfShape",
            List.of(SHAPE),
            List.of(OFFSET),
            OnnxMessage.attribute(
                "value", OnnxMessage.tensor("", OnnxMessage.INT32, new byte[4], 1))));
    int count = 0;
    for (ProtobufField field : ProtobufField.of(graph)) {
      if (field.number() == 1 && isAttention(field.value())) {
        attention(changed, field.value(), config);
        count++;
      } else if (field.number() == 5) {
        WeightsInFile.add(changed, field, file);
      } else {
        changed.field(field);
      }
    }
    if (count == 0) {
      throw new IllegalArgumentException(
          "expected nodes of " + NitOps.VARLEN_ATTENTION.name() + ", found none");
    }
    return changed.message(11, OnnxMessage.value(SHAPE, OnnxMessage.INT64, 2));
  }

  private static boolean isAttention(ByteBuffer node) {
    boolean type = false;
    boolean domain = false;
    for (ProtobufField field : ProtobufField.of(node)) {
      type |= field.number() == 4 && field.text().equals(NitOps.VARLEN_ATTENTION.name());
      domain |= field.number() == 7 && field.text().equals(NitOps.DOMAIN);
    }
    return type && domain;
  }

  private static void attention(OnnxMessage graph, ByteBuffer node, NitConfig config) {
    List<ProtobufField> fields = ProtobufField.of(node);
    List<String> inputs = texts(fields, 1); // qkv [N, 3·D], cu_seqlens [B+1]
    String out = texts(fields, 2).get(0); // [N, D]
    List<String> parts = List.of(out + ".q", out + ".k", out + ".v");
    graph.message(
        1,
        OnnxMessage.node(
            "",
            "Split",
            inputs.subList(0, 1),
            parts,
            OnnxMessage.attribute("axis", 1),
            OnnxMessage.attribute("num_outputs", 3)));
    graph.message(
        1,
        OnnxMessage.node(
            MICROSOFT,
            "PackedMultiHeadAttention",
            List.of(parts.get(0), parts.get(1), parts.get(2), "", OFFSET, inputs.get(1)),
            List.of(out),
            OnnxMessage.attribute("num_heads", config.numHeads()),
            OnnxMessage.attribute("scale", (float) (1 / Math.sqrt(config.headDim())))));
  }

  private static List<String> texts(List<ProtobufField> fields, int number) {
    return fields.stream()
        .filter(field -> field.number() == number)
        .map(ProtobufField::text)
        .toList();
  }
}
