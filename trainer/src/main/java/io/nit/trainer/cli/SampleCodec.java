package io.nit.trainer.cli;

import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.trainer.autoencoder.DcAeCodec;
import io.nit.trainer.data.TrainingData;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.bytedeco.pytorch.Device;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/** Finds what decodes a training's samples: what made the data set's latents. */
final class SampleCodec {
  private static final Logger LOG = LoggerFactory.getLogger(SampleCodec.class);

  private SampleCodec() {}

  /**
   * The codec for a data set's samples; the caller closes it.
   *
   * @param given the one of {@code --autoencoder}, if there is one
   * @param flags how to open the one that the data set names
   * @return empty where there is none at hand
   * @throws IllegalArgumentException if {@code given} is another than that of the latents
   */
  static Optional<LatentCodec> find(
      TrainingData data, Optional<LatentCodec> given, AutoencoderFlags flags, Device device) {
    if (given.isPresent()) {
      data.codec().ifPresent(made -> require(made, given.get().spec()));
      return given;
    }
    if (data.codec().orElse(null) instanceof DcAeSpec made && data.autoencoder().isPresent()) {
      return ofDataSet(made, data.autoencoder().get(), flags, device);
    }
    return data.codec().flatMap(CodecSpec::plain);
  }

  private static Optional<LatentCodec> ofDataSet(
      DcAeSpec made, Path where, AutoencoderFlags flags, Device device) {
    LatentCodec there;
    try {
      there = flags.open(where, device, DcAeCodec.Limits.STANDARD);
    } catch (IOException | IllegalArgumentException e) {
      LOG.debug("{}: no autoencoder", where, e);
      return Optional.empty();
    }
    if (!there.spec().equals(made)) {
      LOG.warn("{}: expected {}, found {}", where, made.describe(), there.spec().describe());
      there.close();
      return Optional.empty();
    }
    LOG.info("samples are decoded by {}, which made the latents", where);
    return Optional.of(there);
  }

  /** Why there are no samples of a data set, and what to do about it. */
  static String reason(TrainingData data) {
    return data.codec()
            .map(
                codec ->
                    "the latents are by "
                        + codec.describe()
                        + data.autoencoder()
                            .map(folder -> ", which is not in " + folder + " any more")
                            .orElse(""))
            .orElse("the data set does not say which codec made its latents")
        + "; --autoencoder DIR decodes them";
  }

  private static void require(CodecSpec made, CodecSpec given) {
    List<String> differences = new ArrayList<>();
    if (!(made instanceof DcAeSpec latents) || !(given instanceof DcAeSpec named)) {
      throw new IllegalArgumentException(
          "--autoencoder: expected none, as the latents are by "
              + made.describe()
              + ", found "
              + given.describe());
    }
    differ("factor", latents.factor(), named.factor(), differences);
    differ("channels", latents.channels(), named.channels(), differences);
    differ(
        "scaling factor",
        latents.config().scalingFactor(),
        named.config().scalingFactor(),
        differences);
    if (!differences.isEmpty()) {
      throw new IllegalArgumentException(
          "--autoencoder: expected that of the latents, found another: "
              + String.join(", ", differences));
    }
    if (latents.weightsSha256().isPresent()
        && !latents.weightsSha256().equals(named.weightsSha256())) {
      LOG.warn(
          "--autoencoder: other weights than made the latents: expected {}, found {}; samples may"
              + " look wrong",
          latents.weightsSha256().get(),
          named.weightsSha256().orElse("unknown ones"));
    }
  }

  private static void differ(String what, Number expected, Number found, List<String> to) {
    if (!expected.equals(found)) {
      to.add(what + ": expected " + expected + ", found " + found);
    }
  }
}
