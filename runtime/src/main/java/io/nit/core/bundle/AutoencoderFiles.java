package io.nit.core.bundle;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;

/**
 * The ONNX files of a bundle's learned autoencoder. The encoder takes {@code rgb} [batch, 3,
 * height, width] in [-1, 1] and gives {@code latent} [batch, C, height/f, width/f] as the network
 * makes it; the decoder takes such a latent and gives {@code rgb}. Neither applies the scaling
 * factor: the codec's config has it.
 *
 * @param encoder name of the encoder's file; absent where only pictures are made
 * @param decoder name of the decoder's file
 * @param decoderF32 name of the decoder that computes in single precision, for pictures that {@code
 *     decoder} overflows on; absent where {@code decoder} is that already
 * @param weights type that the weights are stored in
 * @param compute type that {@code decoder} computes in: F32, or F16 where that was asked for
 */
public record AutoencoderFiles(
    Optional<String> encoder,
    String decoder,
    Optional<String> decoderF32,
    DType weights,
    DType compute) {

  /** Checks that a decoder that can overflow has one that cannot beside it. */
  public AutoencoderFiles {
    if ((compute != DType.F32) != decoderF32.isPresent()) {
      throw new IllegalArgumentException(
          "autoencoder.decoder_f32: expected "
              + (compute == DType.F32 ? "none, as compute is F32" : "a file, as compute is ")
              + (compute == DType.F32 ? "" : compute));
    }
  }

  /** Every file's name. */
  public List<String> names() {
    List<String> names = new ArrayList<>(List.of(decoder));
    decoderF32.ifPresent(names::add);
    encoder.ifPresent(names::add);
    return names;
  }

  /** The manifest entry. */
  public ObjectNode toNode() {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    encoder.ifPresent(name -> node.put("encoder", name));
    node.put("decoder", decoder);
    decoderF32.ifPresent(name -> node.put("decoder_f32", name));
    return node.put("weights", weights.name()).put("compute", compute.name());
  }

  /** Of a manifest entry. */
  static AutoencoderFiles of(JsonNode node) {
    return new AutoencoderFiles(
        Optional.ofNullable(node.get("encoder")).map(JsonNode::asText),
        node.path("decoder").asText(),
        Optional.ofNullable(node.get("decoder_f32")).map(JsonNode::asText),
        DType.parse(node.path("weights").asText("F32")),
        DType.parse(node.path("compute").asText("F32")));
  }
}
