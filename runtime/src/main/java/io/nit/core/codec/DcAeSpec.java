package io.nit.core.codec;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.config.DcAeConfig;
import java.util.Optional;

/**
 * A DC-AE as the codec of latents. Latents are the encoder's output times the scaling factor, as
 * NiT's published ones are.
 *
 * @param config the autoencoder's shape and scaling factor
 * @param weightsSha256 hash of the weights file, by which a later stage knows the same one again;
 *     absent where it is not known
 */
public record DcAeSpec(DcAeConfig config, Optional<String> weightsSha256) implements CodecSpec {
  /** The name in manifests. */
  public static final String TYPE = "dc-ae";

  @Override
  public String type() {
    return TYPE;
  }

  @Override
  public int factor() {
    return config.factor();
  }

  @Override
  public int channels() {
    return config.latentChannels();
  }

  @Override
  public Optional<LatentCodec> plain() {
    return Optional.empty();
  }

  @Override
  public ObjectNode toNode() {
    ObjectNode node = JsonNodeFactory.instance.objectNode().put("type", TYPE);
    weightsSha256.ifPresent(hash -> node.put("weights_sha256", hash));
    node.set("config", config.toNode());
    return node;
  }

  @Override
  public String describe() {
    return TYPE
        + " f"
        + factor()
        + "c"
        + channels()
        + ", scaling factor "
        + config.scalingFactor()
        + weightsSha256.map(hash -> ", weights " + hash.substring(0, 12)).orElse("");
  }
}
