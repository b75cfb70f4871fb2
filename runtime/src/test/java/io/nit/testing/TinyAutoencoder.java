package io.nit.testing;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.config.DcAeConfig;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Philox;
import io.nit.core.tensor.DType;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/**
 * Writes ONNX files with an autoencoder's inputs and outputs and little inside, and bundles that
 * hold them: latents of 8 channels, factor 8. The decoder is a 3×3 convolution and a transposed one
 * of 8×8, so that a pixel depends on the latent pixels beside its own; the encoder is a convolution
 * of 8×8.
 */
public final class TinyAutoencoder {
  /** What the files pretend to be. */
  public static final DcAeConfig CONFIG = GeneratedDcAe.small();

  /** The made-up model beside it in a bundle. */
  public static final NitConfig MODEL =
      NitConfig.s()
          .with(Map.of("in_channels", 8, "patch_size", 1, "num_heads", 96, "num_classes", 4));

  private static final int C = 8;
  private static final int F = 8;

  /** How a decoder's values fail. */
  public enum Decoder {
    /** They do not. */
    F32,
    /** Half precision: infinite above 65504. */
    F16,
    /** NaN above 88. */
    NAN
  }

  private TinyAutoencoder() {}

  /**
   * A bundle with a decoder that does not fail and an encoder.
   *
   * @param folder where to, made if need be
   */
  public static Bundle bundle(Path folder) throws IOException {
    return bundle(folder, Decoder.F32, Optional.empty(), true);
  }

  /**
   * A bundle.
   *
   * @param folder where to, made if need be
   * @param fallback the decoder in single precision; the first is said to compute in half then
   * @param encodes whether there is an encoder
   */
  public static Bundle bundle(
      Path folder, Decoder decoder, Optional<Decoder> fallback, boolean encodes)
      throws IOException {
    Files.createDirectories(folder);
    List<Path> files = new ArrayList<>();
    files.add(new TinyModel(C, 1, MODEL.headDim()).write(folder.resolve("model.onnx"), C, 1));
    files.add(decoder(folder.resolve("decoder.onnx"), decoder, C, "latent", "rgb"));
    if (fallback.isPresent()) {
      files.add(decoder(folder.resolve("decoder_f32.onnx"), fallback.get(), C, "latent", "rgb"));
    }
    if (encodes) {
      files.add(encoder(folder.resolve("encoder.onnx")));
    }
    List<Bundle.FileEntry> entries = new ArrayList<>();
    for (Path file : files) {
      entries.add(Bundle.describe(file));
    }
    Bundle bundle =
        new Bundle(
            folder,
            MODEL,
            "model.onnx",
            "F32",
            18,
            Optional.of(new DcAeSpec(CONFIG, Optional.of("ab".repeat(32)))),
            Optional.of(
                new AutoencoderFiles(
                    encodes ? Optional.of("encoder.onnx") : Optional.empty(),
                    "decoder.onnx",
                    fallback.map(there -> "decoder_f32.onnx"),
                    DType.F32,
                    fallback.isPresent() ? DType.F16 : DType.F32)),
            List.of("cat", "dog", "fish", "zebra"),
            4096,
            new Bundle.SamplingDefaults(2, "euler", 1, 0, 1),
            entries,
            JsonNodeFactory.instance.arrayNode(),
            JsonNodeFactory.instance.objectNode());
    bundle.write();
    return bundle;
  }

  /** A decoder from so many channels, with inputs and outputs of these names. */
  public static Path decoder(Path file, Decoder kind, int channels, String from, String to)
      throws IOException {
    OnnxBytes graph = new OnnxBytes();
    OnnxBytes.node(
        graph, "Conv", List.of(OnnxBytes.attribute("pads", 1, 1, 1, 1)), "mixed", from, "near");
    OnnxBytes.node(
        graph,
        "ConvTranspose",
        List.of(OnnxBytes.attribute("strides", F, F)),
        kind == Decoder.F32 ? to : "planes",
        "mixed",
        "pixels");
    switch (kind) {
      case F16 -> {
        OnnxBytes.node(
            graph, "Cast", List.of(OnnxBytes.attribute("to", OnnxBytes.FLOAT16)), "half", "planes");
        OnnxBytes.node(
            graph, "Cast", List.of(OnnxBytes.attribute("to", OnnxBytes.FLOAT)), to, "half");
      }
      case NAN -> {
        graph.bytes(5, OnnxBytes.tensor("zero", new float[1], 1));
        OnnxBytes.node(graph, "Exp", List.of(), "grown", "planes");
        OnnxBytes.node(graph, "Mul", List.of(), "nothing", "grown", "zero"); // 0·∞ is NaN
        OnnxBytes.node(graph, "Add", List.of(), to, "planes", "nothing");
      }
      default -> {}
    }
    graph.string(2, "decoder");
    graph.bytes(
        5, OnnxBytes.tensor("near", values(1, channels * channels * 9), channels, channels, 3, 3));
    graph.bytes(5, OnnxBytes.tensor("pixels", values(2, channels * 3 * F * F), channels, 3, F, F));
    graph.bytes(11, OnnxBytes.valueInfo(from, OnnxBytes.FLOAT, "batch", channels, "h", "w"));
    graph.bytes(12, OnnxBytes.valueInfo(to, OnnxBytes.FLOAT, "batch", 3, "height", "width"));
    return Files.write(file, OnnxBytes.model(graph));
  }

  private static Path encoder(Path file) throws IOException {
    OnnxBytes graph = new OnnxBytes();
    OnnxBytes.node(
        graph, "Conv", List.of(OnnxBytes.attribute("strides", F, F)), "latent", "rgb", "blocks");
    graph.string(2, "encoder");
    graph.bytes(5, OnnxBytes.tensor("blocks", values(3, C * 3 * F * F), C, 3, F, F));
    graph.bytes(11, OnnxBytes.valueInfo("rgb", OnnxBytes.FLOAT, "batch", 3, "height", "width"));
    graph.bytes(12, OnnxBytes.valueInfo("latent", OnnxBytes.FLOAT, "batch", C, "h", "w"));
    return Files.write(file, OnnxBytes.model(graph));
  }

  private static float[] values(int stream, int count) {
    double[] normals = new Philox(7, stream).normals(count);
    float[] values = new float[count];
    for (int i = 0; i < count; i++) {
      values[i] = (float) (0.1 * normals[i]);
    }
    return values;
  }
}
