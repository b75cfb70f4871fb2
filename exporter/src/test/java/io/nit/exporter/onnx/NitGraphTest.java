package io.nit.exporter.onnx;

import static io.nit.exporter.onnx.ParsedModels.text;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.ops.NitOps;
import io.nit.core.ops.PluginSpec;
import io.nit.core.tensor.DType;
import io.nit.core.tensor.NitTensors;
import java.util.ArrayList;
import java.util.LinkedHashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.Collectors;
import org.bytedeco.onnx.FunctionProto;
import org.bytedeco.onnx.GraphProto;
import org.bytedeco.onnx.ModelProto;
import org.bytedeco.onnx.NodeProto;
import org.bytedeco.onnx.ValueInfoProto;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import org.junit.jupiter.params.provider.ValueSource;

class NitGraphTest {
  @ParameterizedTest
  @ValueSource(strings = {"plain", "patch2", "no_qk_norm", "adaln_lora", "head_dim72"})
  void everyNodeOfOurDomainFollowsItsSpecAndHasABody(String variant) {
    NitConfig config = TestModels.variant(variant);
    ModelProto model = parsed(new NitGraph(config, DType.F32));
    Set<String> bodies = new LinkedHashSet<>();
    for (int i = 0; i < model.functions_size(); i++) {
      assertEquals(NitOps.DOMAIN, text(model.functions(i).domain()));
      bodies.add(text(model.functions(i).name()));
    }
    assertEquals(
        NitOps.ALL.stream().map(PluginSpec::name).collect(Collectors.toSet()), Set.copyOf(bodies));
    int found = 0;
    for (NodeProto node : nodes(model.graph())) {
      if (text(node.domain()).equals(NitOps.DOMAIN)) {
        PluginSpec spec = spec(text(node.op_type()));
        List<String> attributes = new ArrayList<>();
        for (int i = 0; i < node.attribute_size(); i++) {
          attributes.add(text(node.attribute(i).name()));
        }
        assertEquals(
            spec.attributes().stream().map(PluginSpec.Attribute::name).toList(), attributes);
        long inputs =
            spec.inputs().stream()
                .filter(in -> config.qkNorm() || !in.shape().contains("if qk_norm"))
                .count();
        assertEquals(inputs, node.input_size(), spec.name());
        found++;
      }
    }
    assertEquals(config.depth() * 6 + 1, found);
  }

  @Test
  void bodiesUseStandardOperatorsOnly() {
    ModelProto model = parsed(new NitGraph(TestModels.TINY, DType.F32));
    for (int i = 0; i < model.functions_size(); i++) {
      FunctionProto function = model.functions(i);
      assertEquals(1, function.opset_import_size());
      assertEquals("", text(function.opset_import(0).domain()));
      assertEquals(NitGraph.OPSET, function.opset_import(0).version());
      for (int n = 0; n < function.node_size(); n++) {
        assertEquals("", text(function.node(n).domain()));
      }
    }
  }

  @Test
  void tokensImagesAndSizesAreDynamic() {
    GraphProto graph = parsed(new NitGraph(TestModels.variant("patch2"), DType.F32)).graph();
    List<String> inputs = new ArrayList<>();
    for (int i = 0; i < graph.input_size(); i++) {
      inputs.add(signature(graph.input(i)));
    }
    assertEquals(
        List.of(
            "x [tokens, 4, 2, 2]",
            "t [images]",
            "y [images]",
            "cu_seqlens [images_plus_1]",
            "image_index [tokens]",
            "rope_cos [tokens, 24]",
            "rope_sin [tokens, 24]"),
        inputs);
    assertEquals(1, graph.output_size());
    assertEquals("v [tokens, 4, 2, 2]", signature(graph.output(0)));
  }

  @ParameterizedTest
  @ValueSource(strings = {"plain", "no_qk_norm", "adaln_lora", "patch2", "no_null_class"})
  void weightsAreTheCheckpointsUnderItsKeys(String variant) {
    NitConfig config = TestModels.variant(variant);
    NitGraph graph = new NitGraph(config, DType.F32);
    assertEquals(
        NitTensors.of(config, false).keySet(),
        graph.weights().stream().map(Weight::name).collect(Collectors.toSet()));
    assertEquals(4 * NitTensors.parameters(config, false), graph.weightBytes());
  }

  @ParameterizedTest
  @EnumSource(
      value = DType.class,
      names = {"F16", "BF16"})
  void weightsOfSixteenBitsAreCastAndNothingElseIs(DType storage) {
    NitGraph graph = new NitGraph(TestModels.TINY, storage);
    List<NodeProto> casts =
        nodes(parsed(graph).graph()).stream()
            .filter(node -> text(node.op_type()).equals("Cast"))
            .toList();
    assertEquals(
        graph.weights().stream().map(Weight::name).collect(Collectors.toSet()),
        casts.stream().map(node -> text(node.input(0))).collect(Collectors.toSet()));
    assertTrue(graph.weights().stream().allMatch(w -> w.stored().dtype() == storage));
  }

  @Test
  void namesOfNodesAndValuesAreUnique() {
    Set<String> seen = new LinkedHashSet<>();
    for (NodeProto node : nodes(parsed(new NitGraph(TestModels.TINY, DType.BF16)).graph())) {
      for (int i = 0; i < node.output_size(); i++) {
        assertTrue(seen.add(text(node.output(i))), text(node.output(i)));
      }
    }
    assertFalse(seen.isEmpty());
  }

  @Test
  void otherStorageTypesAreRefused() {
    String message =
        assertThrows(IllegalArgumentException.class, () -> new NitGraph(TestModels.TINY, DType.F64))
            .getMessage();
    assertTrue(message.contains("expected f32, f16 or bf16, found F64"), message);
  }

  static ModelProto parsed(OnnxGraph graph) {
    Message whole = graph.model().message(ModelProto.kGraphFieldNumber, graph.graph());
    return ParsedModels.parsed(whole.toBytes());
  }

  private static List<NodeProto> nodes(GraphProto graph) {
    List<NodeProto> nodes = new ArrayList<>();
    for (int i = 0; i < graph.node_size(); i++) {
      nodes.add(graph.node(i));
    }
    return nodes;
  }

  private static PluginSpec spec(String name) {
    return NitOps.ALL.stream().filter(op -> op.name().equals(name)).findFirst().orElseThrow();
  }

  static String signature(ValueInfoProto value) {
    List<String> dims = new ArrayList<>();
    var shape = value.type().tensor_type().shape();
    for (int i = 0; i < shape.dim_size(); i++) {
      var dim = shape.dim(i);
      dims.add(
          !text(dim.dim_param()).isEmpty()
              ? text(dim.dim_param())
              : Long.toString(dim.dim_value()));
    }
    return text(value.name()) + " " + dims;
  }
}
