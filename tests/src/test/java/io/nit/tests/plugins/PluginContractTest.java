package io.nit.tests.plugins;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.dataformat.yaml.YAMLMapper;
import io.nit.core.ops.NitOps;
import io.nit.core.ops.PluginSpec;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Set;
import java.util.TreeSet;
import java.util.stream.Collectors;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.MethodSource;

/** Each plugin's YAML says what the Java table says; the C++ tables are tested against it too. */
class PluginContractTest {
  private static final Path PLUGINS = Path.of("..", "plugins-trt");

  static List<PluginSpec> plugins() {
    return NitOps.PLUGINS;
  }

  private static Path folder(PluginSpec op) {
    String bare = op.name().substring("Nit".length());
    String name = Character.toLowerCase(bare.charAt(0)) + bare.substring(1);
    return PLUGINS.resolve(name + "Plugin");
  }

  private static JsonNode yaml(PluginSpec op) throws IOException {
    Path folder = folder(op);
    String name = folder.getFileName().toString().replaceAll("Plugin$", "_PluginConfig.yaml");
    return new YAMLMapper().readTree(folder.resolve(name).toFile());
  }

  private static List<PluginSpec.Tensor> tensors(JsonNode list) {
    List<PluginSpec.Tensor> tensors = new ArrayList<>();
    list.forEach(
        t ->
            tensors.add(
                new PluginSpec.Tensor(
                    t.get("name").asText(), t.get("dtype").asText(), t.get("shape").asText())));
    return tensors;
  }

  @ParameterizedTest
  @MethodSource("plugins")
  void theYamlIsTheExportersTable(PluginSpec op) throws IOException {
    JsonNode yaml = yaml(op);
    List<PluginSpec.Attribute> attributes = new ArrayList<>();
    yaml.get("attributes")
        .forEach(
            a ->
                attributes.add(
                    new PluginSpec.Attribute(a.get("name").asText(), a.get("type").asText())));
    assertEquals(
        op,
        new PluginSpec(
            yaml.get("name").asText(),
            tensors(yaml.get("inputs")),
            tensors(yaml.get("outputs")),
            attributes));
    assertEquals(NitOps.DOMAIN, yaml.get("namespace").asText());
    assertEquals(String.valueOf(NitOps.VERSION), yaml.get("version").asText());
  }

  @ParameterizedTest
  @MethodSource("plugins")
  void aPluginsFolderIsWhole(PluginSpec op) throws IOException {
    String readme = Files.readString(folder(op).resolve("README.md"));
    for (String heading : List.of("# ", "## Inputs", "## Outputs", "## Attributes", "## Limits")) {
      assertTrue(readme.contains(heading), folder(op) + "/README.md: expected " + heading);
    }
    Stream.of(op.inputs(), op.outputs())
        .flatMap(List::stream)
        .forEach(t -> assertTrue(readme.contains("`" + t.name() + "`"), t + " in " + folder(op)));
    op.attributes()
        .forEach(a -> assertTrue(readme.contains("`" + a.name() + "`"), a + " in " + folder(op)));
  }

  @Test
  void everyFolderIsAPluginOfTheTable() throws IOException {
    Set<String> known =
        plugins().stream()
            .map(op -> folder(op).getFileName().toString())
            .collect(Collectors.toCollection(TreeSet::new));
    Set<String> found;
    try (Stream<Path> entries = Files.list(PLUGINS)) {
      found =
          entries
              .map(p -> p.getFileName().toString())
              .filter(name -> name.endsWith("Plugin"))
              .collect(Collectors.toCollection(TreeSet::new));
    }
    assertEquals(known, found);
  }
}
