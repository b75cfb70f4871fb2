package io.nit.exporter.trt;

import static io.nit.exporter.onnx.ParsedModels.parsed;
import static io.nit.exporter.onnx.ParsedModels.text;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OrtException;
import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.config.DcAeConfig;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.Shape;
import io.nit.exporter.onnx.DcAeGraph;
import io.nit.exporter.onnx.DcAeGraph.Part;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.onnx.OrtFile;
import io.nit.exporter.onnx.TestAutoencoders;
import io.nit.runtime.engine.ref.DcAeForward;
import io.nit.testing.Errors;
import io.nit.testing.GeneratedDcAe;
import java.io.IOException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Stream;
import org.bytedeco.onnx.GraphProto;
import org.bytedeco.onnx.NodeProto;
import org.bytedeco.onnx.global.onnx;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.MethodSource;
import org.junit.jupiter.params.provider.ValueSource;

class TrtAutoencoderTest {
  private static final List<PictureProfile> SIZES =
      List.of(new PictureProfile(64, 1), new PictureProfile(128, 2));

  @TempDir Path folder;

  static Stream<String> family() {
    return Arrays.stream(TestAutoencoders.NAMES);
  }

  private TrtAutoencoder forTensorRt(DcAeConfig config, Part part, DType storage, DType precision)
      throws IOException {
    Path exported =
        OnnxFile.write(
                new DcAeGraph(config, part, storage, DType.F32),
                new GeneratedDcAe(config),
                folder.resolve("bundle/" + part.key() + ".onnx"),
                OnnxFile.EXTERNAL_DATA_ABOVE,
                bytes -> {})
            .model();
    return TrtAutoencoder.write(
        exported, config, part, precision, SIZES, folder.resolve("trt/" + part.key() + ".onnx"));
  }

  @ParameterizedTest
  @MethodSource("family")
  void theSinglePrecisionHalvesAreTheReferences(String name) throws IOException, OrtException {
    DcAeConfig config = TestAutoencoders.of(name);
    DcAeForward reference = new DcAeForward(new GeneratedDcAe(config), config);
    int f = config.factor();
    int c = config.latentChannels();
    float[] rgb = GeneratedDcAe.image(3 * f, 5 * f);
    float[] latent = GeneratedDcAe.latent(c, 3, 5);
    TrtAutoencoder encoder = forTensorRt(config, Part.ENCODER, DType.F32, DType.F32);
    TrtAutoencoder decoder = forTensorRt(config, Part.DECODER, DType.F32, DType.F32);
    double encoded =
        Errors.relative(run(encoder, rgb, 1, 3, 3 * f, 5 * f), reference.encode(rgb, 3 * f, 5 * f));
    double decoded =
        Errors.relative(run(decoder, latent, 1, c, 3, 5), reference.decode(latent, 3, 5));
    assertTrue(encoded < 1e-5 && decoded < 1e-5, name + ": " + encoded + ", " + decoded);
  }

  @ParameterizedTest
  @EnumSource(Part.class)
  void sixteenBitHalvesAreNearTheReferenceWhateverTheFileStores(Part part)
      throws IOException, OrtException {
    // Half precision has the layout of bf16, and is what ONNX Runtime computes on a CPU.
    for (String name : List.of("sana", "first_family", "other_ratios")) {
      DcAeConfig config = TestAutoencoders.of(name);
      DcAeForward reference = new DcAeForward(new GeneratedDcAe(config), config);
      int f = config.factor();
      int c = config.latentChannels();
      TrtAutoencoder half = forTensorRt(config, part, DType.BF16, DType.F16);
      double error;
      if (part == Part.ENCODER) {
        float[] rgb = GeneratedDcAe.image(2 * f, 3 * f);
        error =
            Errors.relative(
                run(half, rgb, 1, 3, 2 * f, 3 * f), reference.encode(rgb, 2 * f, 3 * f));
      } else {
        float[] latent = GeneratedDcAe.latent(c, 2, 3);
        error = Errors.relative(run(half, latent, 1, c, 2, 3), reference.decode(latent, 2, 3));
      }
      assertTrue(error > 1e-5 && error < 2e-2, name + ": " + error);
    }
  }

  @ParameterizedTest
  @MethodSource("family")
  void weightsOfConvolutionsAreInitializersOfTheArithmeticsType(String name) throws IOException {
    DcAeConfig config = TestAutoencoders.of(name);
    for (Part part : Part.values()) {
      TrtAutoencoder half = forTensorRt(config, part, DType.F32, DType.BF16);
      GraphProto graph = parsed(half.file().model()).graph();
      Set<String> weights = new TreeSet<>();
      for (int i = 0; i < graph.initializer_size(); i++) {
        String weight = text(graph.initializer(i).name());
        boolean single = weight.matches(".*(norm|proj_in|proj_out|conv_depth).*");
        assertEquals(
            single ? onnx.TensorProto_DataType_FLOAT : onnx.TensorProto_DataType_BFLOAT16,
            graph.initializer(i).data_type(),
            weight);
        weights.add(weight);
      }
      int convolutions = 0;
      for (int i = 0; i < graph.node_size(); i++) {
        NodeProto node = graph.node(i);
        if (!text(node.op_type()).equals("Conv")) {
          continue;
        }
        convolutions++;
        for (int k = 1; k < node.input_size(); k++) {
          assertTrue(weights.contains(text(node.input(k))), text(node.input(k)));
        }
      }
      assertTrue(convolutions > 5, name);
      assertTrue(half.plugins(0).isEmpty());
    }
  }

  @Test
  void profilesGoFromOneLatentPixelToTheLargestSquare() throws IOException {
    DcAeConfig config = TestAutoencoders.of("sana"); // factor 8, 8 channels
    BuildOptions options =
        new BuildOptions(0, List.of(64), 1, BuildOptions.WORKSPACE, 3, Optional.empty());
    List<InputSizes> profiles =
        forTensorRt(config, Part.DECODER, DType.F32, DType.BF16).profiles(0, options);
    assertEquals(2, profiles.size());
    InputSizes.Range latent = profiles.get(1).inputs().get("latent");
    assertEquals(Shape.of(1, 8, 1, 1), latent.least());
    assertEquals(Shape.of(1, 8, 16, 16), latent.typical());
    assertEquals(Shape.of(2, 8, 16, 16), latent.most());
    InputSizes.Range rgb =
        forTensorRt(config, Part.ENCODER, DType.F32, DType.BF16)
            .profiles(0, options)
            .get(0)
            .inputs()
            .get("rgb");
    assertEquals(Shape.of(1, 3, 8, 8), rgb.least());
    assertEquals(Shape.of(1, 3, 64, 64), rgb.typical());
    assertEquals(Shape.of(1, 3, 64, 64), rgb.most());
  }

  @ParameterizedTest
  @ValueSource(strings = {"", "60", "128,64", "64,64", "0"})
  void sizesRiseAndAreMultiplesOfTheFactor(String list) {
    List<PictureProfile> sizes =
        list.isEmpty()
            ? List.of()
            : Stream.of(list.split(","))
                .map(side -> new PictureProfile(Integer.parseInt(side), 1))
                .toList();
    String message =
        assertThrows(IllegalArgumentException.class, () -> TrtAutoencoder.requireSizes(sizes, 8))
            .getMessage();
    assertTrue(message.startsWith("--autoencoder-sizes: expected"), message);
  }

  @Test
  void theOtherHalfsFileIsRefused() throws IOException {
    DcAeConfig config = TestAutoencoders.of("sana");
    Path encoder = forTensorRt(config, Part.ENCODER, DType.F32, DType.F32).file().model();
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    TrtAutoencoder.write(
                        encoder,
                        config,
                        Part.DECODER,
                        DType.F32,
                        SIZES,
                        folder.resolve("trt/other.onnx")))
            .getMessage();
    assertTrue(message.contains("decoder.conv_in.weight"), message);
  }

  private static float[] run(TrtAutoencoder half, float[] values, long... shape)
      throws OrtException {
    try (OrtFile open = new OrtFile(half.file().model())) {
      return open.run(values, shape);
    }
  }
}
