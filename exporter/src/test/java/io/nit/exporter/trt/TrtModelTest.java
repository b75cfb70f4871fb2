package io.nit.exporter.trt;

import static io.nit.exporter.onnx.ParsedModels.parsed;
import static io.nit.exporter.onnx.ParsedModels.text;
import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import ai.onnxruntime.OnnxTensor;
import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtException;
import ai.onnxruntime.OrtSession;
import io.nit.core.bundle.Bundle;
import io.nit.core.bundle.PackPlan;
import io.nit.core.config.NitConfig;
import io.nit.core.ops.NitOps;
import io.nit.core.ops.PluginSpec;
import io.nit.core.packing.PackLayout;
import io.nit.core.safetensors.TensorSource;
import io.nit.core.safetensors.TensorView;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.NitTensors;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.onnx.OnnxFile;
import io.nit.exporter.onnx.TestModels;
import io.nit.exporter.verify.VerificationPack;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.Engines;
import io.nit.runtime.engine.ForwardInputs;
import io.nit.runtime.engine.VelocityEngine;
import io.nit.runtime.engine.ref.ReferenceEngine;
import io.nit.testing.Errors;
import io.nit.testing.PlainBundle;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.FloatBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.Set;
import java.util.TreeMap;
import java.util.TreeSet;
import java.util.function.Function;
import org.bytedeco.javacpp.BytePointer;
import org.bytedeco.onnx.AttributeProto;
import org.bytedeco.onnx.ModelProto;
import org.bytedeco.onnx.NodeProto;
import org.bytedeco.onnx.ValueInfoProto;
import org.bytedeco.onnx.global.onnx;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class TrtModelTest {
  @TempDir Path folder;

  private Path exported(NitConfig config, DType storage, long externalAbove) throws IOException {
    return OnnxFile.write(
            new NitGraph(config, storage),
            new SyntheticWeights(config, false),
            folder.resolve("bundle/model.onnx"),
            externalAbove,
            bytes -> {})
        .model();
  }

  private TrtModel forTensorRt(Path model, DType precision) throws IOException {
    return TrtModel.write(
        model,
        precision,
        List.of(PackPlan.MAIN),
        folder.resolve("trt/model.onnx"),
        OnnxFile.EXTERNAL_DATA_ABOVE,
        bytes -> {});
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "patch2", "no_qk_norm", "adaln_lora"})
  void sixteenBitModelsHoldPluginsWithEveryAttributeAndNoFunctions(String variant)
      throws IOException {
    NitConfig config = TestModels.variant(variant);
    TrtModel trt = forTensorRt(exported(config, DType.F32, 1L << 30), DType.BF16);
    assertEquals(config, trt.config());
    ModelProto model = parsed(trt.file().model());
    assertEquals(0, model.functions_size());
    Map<String, Integer> found = new TreeMap<>();
    Map<Integer, Integer> types = new TreeMap<>();
    List<String> weights = new ArrayList<>();
    ModelProto modulations = parsed(trt.modulations().orElseThrow().model());
    for (ModelProto part : List.of(model, modulations)) {
      for (int i = 0; i < part.graph().initializer_size(); i++) {
        types.merge(part.graph().initializer(i).data_type(), 1, Integer::sum);
        weights.add(text(part.graph().initializer(i).name()));
      }
    }
    // The two layers of the times and the table of the labels are used in single precision, and the
    // AdaLN layers are one, but for those of two layers each.
    int joined = config.useAdaLnLora() ? 0 : 2 * config.depth();
    assertEquals(
        Map.of(
            onnx.TensorProto_DataType_FLOAT,
            5,
            onnx.TensorProto_DataType_BFLOAT16,
            NitTensors.of(config, false).size() - 5 - joined),
        types);
    if (!config.useAdaLnLora()) {
      assertTrue(weights.removeAll(List.of("adaLN_modulation.weight", "adaLN_modulation.bias")));
      NitTensors.of(config, false).keySet().stream()
          .filter(key -> key.contains("adaLN_modulation"))
          .forEach(weights::add);
    }
    weights.sort(null); // each weight stands in one of the two
    assertEquals(NitTensors.of(config, false).keySet().stream().sorted().toList(), weights);
    for (int i = 0; i < modulations.graph().node_size(); i++) {
      assertEquals("", text(modulations.graph().node(i).domain()));
    }
    for (int i = 0; i < model.graph().node_size(); i++) {
      NodeProto node = model.graph().node(i);
      if (!text(node.domain()).equals(NitOps.DOMAIN)) {
        continue;
      }
      PluginSpec spec =
          NitOps.PLUGINS.stream()
              .filter(op -> op.name().equals(text(node.op_type())))
              .findFirst()
              .orElseThrow();
      Map<String, AttributeProto> attributes = new TreeMap<>();
      for (int a = 0; a < node.attribute_size(); a++) {
        attributes.put(text(node.attribute(a).name()), node.attribute(a));
      }
      Set<String> expected = new TreeSet<>(List.of("plugin_version", "plugin_namespace"));
      spec.attributes().forEach(attribute -> expected.add(attribute.name()));
      assertEquals(expected, attributes.keySet(), spec.name());
      assertEquals(NitOps.DOMAIN, text(attributes.get("plugin_namespace").s()));
      assertEquals("1", text(attributes.get("plugin_version").s()));
      long inputs =
          spec.inputs().stream()
              .filter(in -> config.qkNorm() || !in.shape().contains("if qk_norm"))
              .count();
      assertEquals(inputs, node.input_size(), spec.name());
      assertEquals(spec.outputs().size(), node.output_size(), spec.name());
      found.merge(spec.name(), 1, Integer::sum);
    }
    assertEquals(
        Map.of(
            "NitVarlenAttention", 2,
            "NitQkNormRope2d", 2,
            "NitPackedAdaLn", 1,
            "NitGatedAdaLn", 4),
        found);
    assertEquals(found, new TreeMap<>(trt.plugins(0)));
    assertEquals(Map.of(), trt.plugins(1));
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"plain", "patch2", "no_qk_norm", "adaln_lora", "head_dim64", "head_dim72"})
  void theSmallPlansLinearLayersArePluginsOnTheSameWeights(String variant) throws IOException {
    NitConfig config = TestModels.variant(variant);
    for (long externalAbove : new long[] {1L << 30, 0}) {
      TrtModel trt =
          TrtModel.write(
              exported(config, DType.F32, 1L << 30),
              DType.BF16,
              List.of(PackPlan.MAIN, PackPlan.SMALL),
              folder.resolve("trt/model.onnx"),
              externalAbove,
              bytes -> {});
      assertEquals(3, trt.files().size());
      assertEquals(trt.modulations().orElseThrow(), trt.files().get(2));
      Map<String, Integer> expected = new TreeMap<>(trt.plugins(0));
      // Norm and rotation are in the layer that makes q, k and v where it takes such heads.
      boolean joined = config.headDim() != 24;
      expected.put("NitLinear", (joined ? 3 : 4) * config.depth());
      if (joined) {
        expected.put("NitQkvLinear", expected.remove("NitQkNormRope2d"));
      }
      assertEquals(expected, new TreeMap<>(trt.plugins(1)));
      assertEquals(Map.of(), trt.plugins(2));
      ModelProto model = parsed(trt.files().get(1).model());
      assertEquals(0, model.functions_size());
      List<String> linears = new ArrayList<>();
      for (int i = 0; i < model.graph().node_size(); i++) {
        NodeProto node = model.graph().node(i);
        assertFalse(text(node.op_type()).equals("Gelu"));
        if (text(node.op_type()).equals("NitLinear")) {
          String name = text(node.output(0));
          assertEquals(name + ".weight", text(node.input(1)));
          assertEquals(name + ".bias", text(node.input(2)));
          assertEquals("activation", text(node.attribute(0).name()));
          assertEquals("plugin_namespace", text(node.attribute(2).name()));
          linears.add(name + " " + node.attribute(0).i());
        } else if (text(node.op_type()).equals("NitQkvLinear")) {
          String name = text(node.output(0));
          List<String> inputs = new ArrayList<>();
          for (int k = 0; k < node.input_size(); k++) {
            inputs.add(text(node.input(k)));
          }
          assertEquals("num_heads", text(node.attribute(0).name()));
          linears.add(name + " " + inputs);
        }
      }
      String attention = "blocks.0.attn.";
      assertEquals(
          List.of(
              joined
                  ? "blocks.0.attn.rope [blocks.0.norm1, blocks.0.attn.qkv.weight,"
                      + " blocks.0.attn.qkv.bias, rope_cos, rope_sin,"
                      + " blocks.0.attn.q_norm.weight, blocks.0.attn.q_norm.bias,"
                      + " blocks.0.attn.k_norm.weight, blocks.0.attn.k_norm.bias]"
                  : attention + "qkv 0",
              attention + "proj 0",
              "blocks.0.mlp.fc1 1",
              "blocks.0.mlp.fc2 0"),
          linears.subList(0, 4));
      // The same weights under the same names, so that a refit finds them in both.
      try (OnnxWeights main = OnnxWeights.open(trt.file().model());
          OnnxWeights small = OnnxWeights.open(trt.files().get(1).model())) {
        assertEquals(main.specs(), small.specs());
        for (String name : main.specs().keySet()) {
          assertArrayEquals(main.tensor(name).toFloats(), small.tensor(name).toFloats(), name);
        }
      }
      assertEquals(externalAbove == 0, trt.files().get(1).data().isPresent());
    }
  }

  @Test
  void profilesStandInThePlanOfTheirTokens() throws IOException {
    Path model = exported(TestModels.TINY, DType.F32, 1L << 30);
    BuildOptions options =
        new BuildOptions(
                0, List.of(128, 512, 513, 8192), 64, BuildOptions.WORKSPACE, 3, Optional.empty())
            .withSmallPlan(true);
    TrtModel trt =
        TrtModel.write(
            model,
            DType.F16,
            options.packPlans(),
            folder.resolve("trt/model.onnx"),
            OnnxFile.EXTERNAL_DATA_ABOVE,
            bytes -> {});
    assertEquals(List.of("513 tokens", "8192 tokens"), names(trt.profiles(0, options)));
    assertEquals(List.of("128 tokens", "512 tokens"), names(trt.profiles(1, options)));
    assertEquals(List.of("modulations"), names(trt.profiles(2, options)));
    String message =
        assertThrows(
                IllegalArgumentException.class, () -> trt.profiles(0, options.withSmallPlan(false)))
            .getMessage();
    assertEquals("plans of packs: expected [MAIN, SMALL], found [MAIN]", message);
  }

  private static List<String> names(List<InputSizes> profiles) {
    return profiles.stream().map(InputSizes::name).toList();
  }

  @ParameterizedTest
  @ValueSource(
      strings = {"plain", "patch2", "no_qk_norm", "adaln_lora", "head_dim64", "head_dim72"})
  void ourLinearLayersGiveTheVelocitiesOfTheExportedFileAndOfTheReference(String variant)
      throws IOException, EngineException {
    NitConfig config = TestModels.variant(variant);
    Path exported = exported(config, DType.F32, 1L << 30);
    Path ours =
        OnnxFile.write(
                NitGraph.withOwnLinears(config, DType.F32),
                new SyntheticWeights(config, false),
                folder.resolve("linears/model.onnx"),
                OnnxFile.EXTERNAL_DATA_ABOVE,
                bytes -> {})
            .model();
    ForwardInputs in =
        VerificationPack.of(config, PackLayout.of(new int[] {3, 1, 7}, new int[] {5, 1, 2}))
            .inputs();
    try (ReferenceEngine reference =
            ReferenceEngine.open(new SyntheticWeights(config, false), config);
        VelocityEngine plain = onnxRuntime(config, exported);
        VelocityEngine engine = onnxRuntime(config, ours)) {
      float[] found = forward(engine, in);
      double toPlain = Errors.relative(found, forward(plain, in));
      double toReference = Errors.relative(found, forward(reference, in));
      System.out.printf("  %s: %.1e and %.1e%n", variant, toPlain, toReference);
      assertTrue(toPlain < 1e-6, variant + ": relative error " + toPlain + " to the export");
      assertTrue(toReference < 2e-5, variant + ": relative error " + toReference);
    }
  }

  @Test
  void everyBranchJoinsTheStreamWithTheNormThatFollowsIt() throws IOException {
    ModelProto model =
        parsed(
            forTensorRt(exported(TestModels.TINY, DType.F32, 1L << 30), DType.F16).file().model());
    List<String> fused = new ArrayList<>();
    for (int i = 0; i < model.graph().node_size(); i++) {
      NodeProto node = model.graph().node(i);
      if (text(node.op_type()).equals("NitGatedAdaLn")) {
        List<String> names = new ArrayList<>();
        for (int k = 0; k < node.input_size(); k++) {
          names.add(text(node.input(k)));
        }
        StringBuilder at = new StringBuilder();
        for (int a = 0; a < node.attribute_size(); a++) {
          if (text(node.attribute(a).name()).endsWith("_at")) {
            at.append(' ').append(node.attribute(a).i());
          }
        }
        fused.add(names + "" + at + " -> " + text(node.output(0)) + ", " + text(node.output(1)));
      }
    }
    String table = "modulation, modulation, modulation, modulation_row]";
    assertEquals(
        List.of(
            "[x_embedder.proj, blocks.0.attn.proj, %s 2 3 4 -> blocks.0.residual1, blocks.0.norm2"
                .formatted(table),
            "[blocks.0.residual1, blocks.0.mlp.fc2, %s 5 6 7 -> blocks.0.residual2, blocks.1.norm1"
                .formatted(table),
            "[blocks.0.residual2, blocks.1.attn.proj, %s 8 9 10 -> blocks.1.residual1, blocks.1.norm2"
                .formatted(table),
            "[blocks.1.residual1, blocks.1.mlp.fc2, %s 11 12 13 -> blocks.1.residual2, final_layer.norm"
                .formatted(table)),
        fused);
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "patch2", "no_qk_norm", "adaln_lora"})
  void theSinglePrecisionModelIsTheSameNetworkInStandardOperators(String variant)
      throws IOException, EngineException {
    NitConfig config = TestModels.variant(variant);
    TrtModel trt = forTensorRt(exported(config, DType.F32, 1L << 30), DType.F32);
    assertFalse(trt.holdsPlugins());
    ModelProto model = parsed(trt.file().model());
    assertEquals(0, model.functions_size());
    for (int i = 0; i < model.graph().node_size(); i++) {
      assertEquals("", text(model.graph().node(i).domain()));
    }
    ForwardInputs in =
        VerificationPack.of(config, PackLayout.of(new int[] {3, 1, 7}, new int[] {5, 1, 2}))
            .inputs();
    try (ReferenceEngine reference =
            ReferenceEngine.open(new SyntheticWeights(config, false), config);
        VelocityEngine engine = onnxRuntime(config, trt.file().model())) {
      double error = Errors.relative(forward(engine, in), forward(reference, in));
      assertTrue(error < 2e-5, variant + ": relative error " + error);
    }
  }

  @ParameterizedTest
  @CsvSource({
    "plain, F32, 1e-5",
    "adaln_lora, F32, 1e-5",
    "plain, F16, 3e-3",
    "adaln_lora, F16, 3e-3"
  })
  void modulationsAreThoseOfEveryBlockAndOfTheFinalLayerInTheOrderOfTheirColumns(
      String variant, DType type, double bound) throws Exception {
    NitConfig config = TestModels.variant(variant);
    SyntheticWeights weights = new SyntheticWeights(config, false);
    Path file =
        OnnxFile.write(
                NitGraph.modulations(config, type),
                weights,
                folder.resolve("modulations.onnx"),
                OnnxFile.EXTERNAL_DATA_ABOVE,
                bytes -> {})
            .model();
    float[] times = {0, 0.25f, 1};
    long[] labels = {0, config.numClasses(), 1};
    float[] found = modulations(file, times, labels);
    int hidden = config.hiddenSize();
    int columns = config.modulationParts() * hidden;
    assertEquals(times.length * columns, found.length);
    for (int row = 0; row < times.length; row++) {
      float[] waves = new float[256];
      for (int i = 0; i < 128; i++) {
        double angle = times[row] * Math.exp(-Math.log(10_000) * i / 128);
        waves[i] = (float) Math.cos(angle);
        waves[128 + i] = (float) Math.sin(angle);
      }
      float[] c =
          linear(weights, "t_embedder.mlp.2", silu(linear(weights, "t_embedder.mlp.0", waves)));
      float[] table = weights.tensor("y_embedder.embedding_table.weight").toFloats();
      for (int i = 0; i < hidden; i++) {
        c[i] += table[(int) labels[row] * hidden + i];
      }
      List<Float> expected = new ArrayList<>();
      for (int block = 0; block < config.depth(); block++) {
        String name = "blocks." + block + ".adaLN_modulation.";
        float[] m = linear(weights, name + 1, silu(c));
        for (float value : config.useAdaLnLora() ? linear(weights, name + 2, m) : m) {
          expected.add(value);
        }
      }
      for (float value : linear(weights, "final_layer.adaLN_modulation.1", silu(c))) {
        expected.add(value);
      }
      float[] wanted = new float[columns];
      for (int i = 0; i < columns; i++) {
        wanted[i] = expected.get(i);
      }
      double error =
          Errors.relative(Arrays.copyOfRange(found, row * columns, (row + 1) * columns), wanted);
      assertTrue(error < bound, variant + " row " + row + ": relative error " + error);
    }
  }

  private static float[] modulations(Path file, float[] t, long[] y) throws OrtException {
    OrtEnvironment environment = OrtEnvironment.getEnvironment();
    try (OrtSession.SessionOptions options = new OrtSession.SessionOptions();
        OrtSession session = environment.createSession(file.toString(), options);
        OnnxTensor times = OnnxTensor.createTensor(environment, t);
        OnnxTensor labels = OnnxTensor.createTensor(environment, y);
        OrtSession.Result result = session.run(Map.of("t", times, "y", labels))) {
      FloatBuffer values = ((OnnxTensor) result.get(0)).getFloatBuffer(); // of halves too
      float[] all = new float[values.remaining()];
      values.get(all);
      return all;
    }
  }

  private static float[] silu(float[] x) {
    float[] y = new float[x.length];
    for (int i = 0; i < x.length; i++) {
      y[i] = (float) (x[i] / (1 + Math.exp(-x[i])));
    }
    return y;
  }

  private static float[] linear(SyntheticWeights weights, String name, float[] x)
      throws IOException {
    float[] w = weights.tensor(name + ".weight").toFloats();
    float[] y = weights.tensor(name + ".bias").toFloats().clone();
    for (int i = 0; i < y.length; i++) {
      double sum = y[i];
      for (int k = 0; k < x.length; k++) {
        sum += (double) w[i * x.length + k] * x[k];
      }
      y[i] = (float) sum;
    }
    return y;
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F32", "F16", "BF16"})
  void weightsOfAModelAreThoseItWasExportedFrom(DType storage) throws IOException {
    for (long externalAbove : new long[] {0, 1L << 30}) {
      SyntheticWeights checkpoint = new SyntheticWeights(TestModels.TINY, false);
      try (OnnxWeights weights =
          OnnxWeights.open(exported(TestModels.TINY, storage, externalAbove))) {
        assertEquals(NitTensors.of(TestModels.TINY, false).keySet(), weights.specs().keySet());
        for (String name : weights.specs().keySet()) {
          assertArrayEquals(
              checkpoint.tensor(name).to(storage).toFloats(),
              weights.tensor(name).toFloats(),
              name);
        }
      }
    }
  }

  @Test
  void aModelWithADataFileGivesOneWithADataFile() throws IOException {
    Path model = exported(TestModels.TINY, DType.F32, 0);
    TrtModel trt =
        TrtModel.write(
            model,
            DType.BF16,
            List.of(PackPlan.MAIN),
            folder.resolve("trt/model.onnx"),
            0,
            bytes -> {});
    assertTrue(Files.isRegularFile(trt.file().data().orElseThrow()));
    try (OnnxWeights weights = OnnxWeights.open(trt.file().model())) {
      assertArrayEquals(
          new SyntheticWeights(TestModels.TINY, false)
              .tensor("blocks.1.mlp.fc1.weight")
              .to(DType.BF16)
              .toFloats(),
          weights.tensor("blocks.1.mlp.fc1.weight").toFloats());
    }
  }

  @Test
  void aModulationThatHalfPrecisionCannotHoldIsNamed() {
    String name = "blocks.1.adaLN_modulation.1.bias";
    TensorSource large =
        new TensorView(new SyntheticWeights(TestModels.TINY, false)) {
          @Override
          public HostTensor tensor(String key) throws IOException {
            HostTensor tensor = super.tensor(key);
            if (!key.equals(name)) {
              return tensor;
            }
            float[] values = tensor.toFloats();
            values[3] = 70_000;
            return HostTensor.of(name, values, tensor.shape().dims());
          }
        };
    String message =
        assertThrows(
                IllegalArgumentException.class,
                () ->
                    TrtModel.write(
                        TestModels.TINY,
                        large,
                        DType.F16,
                        List.of(PackPlan.MAIN),
                        folder.resolve("trt/model.onnx"),
                        OnnxFile.EXTERNAL_DATA_ABOVE,
                        bytes -> {}))
            .getMessage();
    assertTrue(
        message.startsWith(name + ": expected values that F16 can hold, found 70000.0"), message);
  }

  @Test
  void aTruncatedDataFileAndForeignModelsAreRefused() throws IOException {
    Path model = exported(TestModels.TINY, DType.F32, 0);
    Path data = model.resolveSibling("model.onnx.data");
    Files.write(data, new byte[100]);
    String message = assertThrows(IOException.class, () -> OnnxWeights.open(model)).getMessage();
    assertTrue(message.contains("expected at least") && message.contains("found 100"), message);

    Path text = Files.writeString(folder.resolve("text.onnx"), "no model at all\n");
    assertThrows(IOException.class, () -> OnnxWeights.open(text));
    Path empty = Files.write(folder.resolve("empty.onnx"), new byte[0]);
    message =
        assertThrows(IllegalArgumentException.class, () -> forTensorRt(empty, DType.BF16))
            .getMessage();
    assertTrue(message.contains("found no nit.config"), message);
  }

  @Test
  void inputsAndOutputStayAsTheyAre() throws IOException {
    Path before = exported(TestModels.TINY, DType.F32, 1L << 30);
    ModelProto expected = parsed(before);
    TrtModel single = forTensorRt(before, DType.F32);
    assertTrue(single.modulations().isEmpty());
    assertEquals(
        values(expected, value -> value.SerializeAsString()),
        values(parsed(single.file().model()), value -> value.SerializeAsString()));
    for (DType precision : List.of(DType.F16, DType.BF16)) {
      TrtModel trt = forTensorRt(before, precision);
      ModelProto found = parsed(trt.file().model());
      assertEquals(
          List.of("x", "modulation", "cu_seqlens", "modulation_row", "rope_cos", "rope_sin", "v"),
          names(found));
      assertEquals(
          text(expected.graph().output(0).SerializeAsString()),
          text(found.graph().output(0).SerializeAsString()));
      ModelProto modulations = parsed(trt.modulations().orElseThrow().model());
      assertEquals(List.of("t", "y", "modulation"), names(modulations));
      assertEquals(
          text(found.graph().input(1).SerializeAsString()),
          text(modulations.graph().output(0).SerializeAsString()));
    }
  }

  private static List<String> names(ModelProto model) {
    return values(model, value -> value.name());
  }

  /** A thing that is told of every input and of the output. */
  private static List<String> values(ModelProto model, Function<ValueInfoProto, BytePointer> told) {
    List<String> values = new ArrayList<>();
    for (int i = 0; i < model.graph().input_size(); i++) {
      values.add(text(told.apply(model.graph().input(i))));
    }
    values.add(text(told.apply(model.graph().output(0))));
    return values;
  }

  private static VelocityEngine onnxRuntime(NitConfig config, Path model)
      throws IOException, EngineException {
    Bundle bundle =
        PlainBundle.of(
            model.getParent(),
            config,
            model.getFileName().toString(),
            "F32",
            Integer.MAX_VALUE,
            List.of());
    return Engines.open(bundle, "ort-cpu", new EngineOptions(1));
  }

  private static float[] forward(VelocityEngine engine, ForwardInputs in) throws EngineException {
    FloatBuffer v = FloatBuffer.allocate(in.x().remaining());
    engine.forward(in, v);
    return v.array();
  }
}
