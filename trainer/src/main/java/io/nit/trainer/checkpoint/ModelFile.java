package io.nit.trainer.checkpoint;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.codec.CodecSpec;
import io.nit.core.safetensors.SafetensorsWriter;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import org.bytedeco.pytorch.Tensor;

/**
 * What a weights file says of itself beside its tensors: strings {@code config}, {@code codec},
 * {@code labels}, {@code step} and {@code tool} in the safetensors header, so that nit-export needs
 * the file alone.
 *
 * @param config the network, as its {@code config.json} says it
 * @param codec what made the latents, where it is known
 * @param labels class names by label; empty where there are none
 */
public record ModelFile(ObjectNode config, Optional<CodecSpec> codec, List<String> labels) {
  private static final String TOOL = "nit-train";

  /**
   * Writes weights, atomically, straight from the tensors' memory.
   *
   * @param tensors by checkpoint key
   */
  public void write(Path file, Map<String, Tensor> tensors, long step) throws IOException {
    SafetensorsWriter writer = new SafetensorsWriter();
    writer.metadata("config", config.toString());
    codec.ifPresent(c -> writer.metadata("codec", c.toNode().toString()));
    if (!labels.isEmpty()) {
      writer.metadata("labels", new ObjectMapper().valueToTree(labels).toString());
    }
    writer.metadata("step", Long.toString(step)).metadata("tool", TOOL);
    tensors.forEach((name, t) -> writer.add(Weights.spec(name, t), () -> Weights.bytes(t)));
    writer.write(file);
  }
}
