package io.nit.exporter.cli;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Codecs;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.config.PositionOrder;
import io.nit.core.io.JsonReason;
import io.nit.core.io.TextFile;
import io.nit.core.safetensors.TensorSource;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * What a checkpoint is a checkpoint of: from the options, else from the file's own metadata, which
 * {@code nit-train} writes, else from a {@code config.json} beside it.
 *
 * @param config the network
 * @param configFrom where it was found, as a user reads it
 * @param codec what made the latents
 * @param labels class names by label; empty where they are not known
 */
record CheckpointDescription(
    NitConfig config, String configFrom, Optional<CodecSpec> codec, List<String> labels) {
  private static final Logger LOG = LoggerFactory.getLogger(CheckpointDescription.class);
  private static final ObjectMapper JSON = new ObjectMapper();

  /**
   * Puts the description together and checks that its parts fit each other.
   *
   * @param autoencoder what {@code --autoencoder} gave
   * @throws IllegalArgumentException if a part is missing, malformed or does not fit
   * @throws IOException if a file cannot be read
   */
  static CheckpointDescription of(
      ExportOptions options, TensorSource checkpoint, Optional<DcAeSpec> autoencoder)
      throws IOException {
    boolean ours = checkpoint.metadata().containsKey("config");
    // Weights without our metadata are the authors', trained in the order of the released code.
    PositionOrder order = ours ? PositionOrder.AXIAL : PositionOrder.RELEASED;
    NitConfig config;
    String from;
    Path beside = configBeside(options.checkpoint());
    if (options.preset().isPresent()) {
      config = options.preset().get().withPositionOrder(ours ? trainedOrder(checkpoint) : order);
      from = "--preset";
    } else if (options.config().isPresent()) {
      config = NitConfig.read(options.config().get(), order);
      from = options.config().get().toString();
    } else if (ours) {
      config =
          NitConfig.fromJson(
              checkpoint.metadata().get("config"), where(checkpoint, "config"), order);
      from = "the checkpoint's metadata";
    } else if (Files.isRegularFile(beside)) {
      config = NitConfig.read(beside, order);
      from = beside.toString();
    } else {
      throw new IllegalArgumentException(
          checkpoint.where()
              + ": expected a config in its metadata or config.json beside it, found neither; give"
              + " --preset or --config");
    }
    if (options.positionOrder().isPresent()) {
      config = config.withPositionOrder(options.positionOrder().get());
    }
    return new CheckpointDescription(
        config,
        from,
        codec(options, checkpoint, config, autoencoder),
        labels(options, checkpoint, config));
  }

  private static PositionOrder trainedOrder(TensorSource checkpoint) {
    return NitConfig.fromJson(
            checkpoint.metadata().get("config"), where(checkpoint, "config"), PositionOrder.AXIAL)
        .positionOrder();
  }

  private static Path configBeside(Path checkpoint) {
    return Files.isDirectory(checkpoint)
        ? checkpoint.resolve("config.json")
        : checkpoint.toAbsolutePath().resolveSibling("config.json");
  }

  private static Optional<CodecSpec> codec(
      ExportOptions options,
      TensorSource checkpoint,
      NitConfig config,
      Optional<DcAeSpec> autoencoder) {
    if (options.codecFactor().isPresent()) {
      return Optional.of(
          fitting(new SpaceToDepthCodec(options.codecFactor().get()), config, "--codec"));
    }
    String where = where(checkpoint, "codec");
    Optional<CodecSpec> trained =
        Optional.ofNullable(checkpoint.metadata().get("codec"))
            .map(text -> fitting(Codecs.of(json(text, where), where), config, where));
    if (autoencoder.isPresent()) {
      String flag = "--autoencoder " + options.autoencoder().orElseThrow().folder();
      fitting(autoencoder.get(), config, flag);
      trained.ifPresent(codec -> requireSame(codec, autoencoder.get(), flag, where));
      return Optional.of(autoencoder.get());
    }
    if (trained.isPresent() && trained.get().plain().isEmpty()) {
      LOG.warn(
          "{}: {}; without it the bundle makes latents only: --autoencoder DIR adds it",
          where,
          trained.get().describe());
      return Optional.empty();
    }
    return trained;
  }

  private static CodecSpec fitting(CodecSpec codec, NitConfig config, String where) {
    if (codec.channels() != config.inChannels()) {
      throw new IllegalArgumentException(
          where
              + ": expected "
              + config.inChannels()
              + " channels (in_channels), found "
              + codec.channels()
              + " with factor "
              + codec.factor());
    }
    return codec;
  }

  /**
   * Refuses an autoencoder of another kind than the latents were made by. Other weights are told
   * and taken: those of SANA 1.0 and 1.1 decode each other's latents.
   */
  private static void requireSame(CodecSpec codec, DcAeSpec found, String flag, String where) {
    if (!(codec instanceof DcAeSpec trained)) {
      throw new IllegalArgumentException(
          flag + ": expected the codec of " + where + ", " + codec.describe() + "; found a DC-AE");
    }
    requireSame("factor", trained.factor(), found.factor(), flag, where);
    requireSame("latent channels", trained.channels(), found.channels(), flag, where);
    double expected = trained.config().scalingFactor();
    requireSame("scaling factor", expected, found.config().scalingFactor(), flag, where);
    if (trained.weightsSha256().isPresent()
        && !trained.weightsSha256().equals(found.weightsSha256())) {
      LOG.warn(
          "{}: its weights are not those that the latents were made by (sha256 {} in {}, found"
              + " {}); pictures are right only if this one decodes the other's latents, as those"
              + " of SANA 1.0 and 1.1 do",
          flag,
          trained.weightsSha256().get(),
          where,
          found.weightsSha256().orElseThrow());
    }
  }

  private static void requireSame(
      String what, Number expected, Number found, String flag, String where) {
    if (!expected.equals(found)) {
      throw new IllegalArgumentException(
          flag + ": expected " + what + " " + expected + " as in " + where + ", found " + found);
    }
  }

  private static List<String> labels(
      ExportOptions options, TensorSource checkpoint, NitConfig config) throws IOException {
    List<String> labels = new ArrayList<>();
    String where;
    if (options.labels().isPresent()) {
      where = options.labels().get().toString();
      TextFile.read(options.labels().get()).lines().forEach(labels::add);
    } else if (checkpoint.metadata().containsKey("labels")) {
      where = where(checkpoint, "labels");
      JsonNode node = json(checkpoint.metadata().get("labels"), where);
      if (!node.isArray()) {
        throw new IllegalArgumentException(
            where + ": expected an array of class names, found " + node.getNodeType());
      }
      node.forEach(label -> labels.add(label.asText()));
    } else {
      return List.of();
    }
    // A model may have more classes than the data set it was trained on; those have no names.
    boolean fits =
        options.labels().isPresent()
            ? labels.size() == config.numClasses()
            : labels.size() <= config.numClasses();
    if (!fits) {
      throw new IllegalArgumentException(
          where
              + ": expected "
              + config.numClasses()
              + " class names (num_classes), found "
              + labels.size());
    }
    return List.copyOf(labels);
  }

  private static JsonNode json(String text, String where) {
    try {
      return JSON.readTree(text);
    } catch (JsonProcessingException e) {
      throw new IllegalArgumentException(where + ": expected JSON, found: " + JsonReason.of(e), e);
    }
  }

  private static String where(TensorSource checkpoint, String key) {
    return checkpoint.where() + ": __metadata__." + key;
  }
}
