package io.nit.exporter.cli;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.bundle.EngineManifest;
import io.nit.core.bundle.EngineManifest.Host;
import io.nit.core.bundle.EngineManifest.Plugins;
import io.nit.core.bundle.EnginePart;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.io.Sha256;
import io.nit.core.trt.Machine;
import io.nit.exporter.trt.BuildOptions;
import io.nit.runtime.engine.EngineException;
import io.nit.testing.TinyAutoencoder;
import java.io.FileNotFoundException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.function.Consumer;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;
import picocli.CommandLine;

/** What {@code --rebuild-on-mismatch} takes for an engine that fits; no GPU is needed to tell. */
class EngineExportTest {
  private static final ObjectMapper JSON = new ObjectMapper();

  @TempDir Path folder;

  private Path bundle;

  /** A Hopper GPU with our library, any part of which may be another. */
  private static final class Fake implements Machine {
    Optional<String> refusal = Optional.empty();
    String tensorrt = "10.6.0";
    String cuda = "12.6";
    String gpu = "NVIDIA H100";
    String computeCapability = "9.0";
    String pluginsVersion = "0.1.0";
    String pluginsHash = "library";
    boolean library = true;

    @Override
    public Optional<String> refusal(int device) {
      return refusal;
    }

    @Override
    public PluginLibrary plugins() throws IOException {
      if (!library) {
        throw new FileNotFoundException("expected libnit_plugins.so, found none: ...");
      }
      return new PluginLibrary(
          Path.of("libnit_plugins.so"),
          PluginLibrary.Source.PROPERTY,
          pluginsVersion,
          "13.0",
          List.of("sm_80", "sm_90a"),
          pluginsHash);
    }

    @Override
    public Host host(int device, Optional<PluginLibrary> plugins) {
      return new Host(
          tensorrt,
          cuda,
          gpu,
          computeCapability,
          plugins.map(library -> new Plugins(library.version(), library.sha256())));
    }
  }

  @BeforeEach
  void aBundleWithAnAutoencoder() throws IOException {
    bundle = TinyAutoencoder.bundle(folder.resolve("bundle")).folder();
  }

  private EngineExport export(EnginePart part, String... more) throws IOException {
    List<String> words = new ArrayList<>(List.of(bundle.toString(), "--parts", part.key()));
    words.addAll(List.of(more));
    ExportEngine command = new ExportEngine();
    CommandLine.populateCommand(command, words.toArray(String[]::new));
    return command.exports().get(0);
  }

  /** Leaves the engine that an export would build on the machine, and its manifest. */
  private static void build(EngineExport export) throws Exception {
    Machine machine = new Fake();
    EngineSource source = export.source();
    Optional<PluginLibrary> plugins = source.plugins(machine);
    BuildOptions options = source.optionsOn(export.options(), "9.0", plugins, line -> {});
    Files.write(export.plan(), new byte[10]);
    ObjectNode provenance =
        JsonNodeFactory.instance
            .objectNode()
            .put("optimization_level", 3)
            .put("workspace_bytes", 2L << 30);
    new EngineManifest(
            export.plan().getFileName().toString(),
            10,
            Sha256.of(export.plan()),
            source.hash().orElseThrow(),
            source.subject(options),
            source.precision().name(),
            machine.host(0, plugins),
            export.options().traits(),
            JsonNodeFactory.instance.arrayNode().add("measured"),
            export.command(),
            provenance)
        .write(export.plan().getParent());
  }

  private static String misfit(EngineExport export, Machine machine) throws Exception {
    Optional<String> misfit = export.misfit(machine);
    assertEquals(misfit.isEmpty(), export.fits(machine));
    return misfit.orElse("none");
  }

  private static String misfit(EngineExport export, Consumer<Fake> change) throws Exception {
    Fake machine = new Fake();
    change.accept(machine);
    return misfit(export, machine);
  }

  @ParameterizedTest
  @EnumSource(EnginePart.class)
  void theEngineThatWouldBeBuiltFits(EnginePart part) throws Exception {
    EngineExport export = export(part);
    assertEquals(List.of("--parts", part.key()), parts(export.command()));
    build(export);
    assertEquals("none", misfit(export, new Fake()));
    if (part == EnginePart.MODEL) {
      assertTrue(EngineManifest.read(export.plan()).subject().sizes().contains("(small plan)"));
    }
  }

  private static List<String> parts(String command) {
    List<String> words = List.of(command.split(" "));
    int at = words.indexOf("--parts");
    return words.subList(at, at + 2);
  }

  @ParameterizedTest
  @EnumSource(EnginePart.class)
  void anotherMachineIsTold(EnginePart part) throws Exception {
    EngineExport export = export(part);
    build(export);
    Map<String, Consumer<Fake>> changes = new LinkedHashMap<>();
    changes.put("tensorrt: expected 10.6.0, found 10.7.0", machine -> machine.tensorrt = "10.7.0");
    changes.put("cuda: expected 12.6, found 13.0", machine -> machine.cuda = "13.0");
    changes.put("gpu.name: expected NVIDIA H100, found L4", machine -> machine.gpu = "L4");
    changes.put(
        "gpu.compute_capability: expected 9.0, found 8.9",
        machine -> machine.computeCapability = "8.9");
    if (part == EnginePart.MODEL) {
      changes.put(
          "plugins.version: expected 0.1.0, found 0.2.0",
          machine -> machine.pluginsVersion = "0.2.0");
      changes.put(
          "plugins.sha256: expected library, found other",
          machine -> machine.pluginsHash = "other");
    }
    for (Map.Entry<String, Consumer<Fake>> change : changes.entrySet()) {
      String misfit = misfit(export, change.getValue());
      assertTrue(
          misfit.contains(change.getKey())
              && misfit.contains(
                  "Build it again with: nit-export engine " + bundle + " --parts " + part.key()),
          misfit);
    }
    if (part != EnginePart.MODEL) { // it holds no plugins
      assertEquals("none", misfit(export, machine -> machine.library = false));
    }
  }

  @ParameterizedTest
  @EnumSource(EnginePart.class)
  void anotherManifestIsTold(EnginePart part) throws Exception {
    EngineExport export = export(part);
    build(export);
    Path file = EngineManifest.fileOf(export.plan());
    String text = Files.readString(file);
    Map<String, Consumer<ObjectNode>> changes = new LinkedHashMap<>();
    changes.put("model.sha256: expected other", m -> object(m, "model").put("sha256", "other"));
    changes.put("plan.bytes: expected 11, found 10", m -> object(m, "plan").put("bytes", 11));
    changes.put("plan.sha256: expected other", m -> object(m, "plan").put("sha256", "other"));
    changes.put("precision: expected F16, found BF16", m -> m.put("precision", "F16"));
    changes.put("options: expected ", m -> m.put("weights", "refittable"));
    changes.put(
        "profiles: expected ", m -> ((ObjectNode) m.get("profiles").get(0)).put("images", 7));
    changes.put(
        "optimization_level: expected 5, found 3",
        m -> object(m, "provenance").put("optimization_level", 5));
    changes.put(
        "workspace_bytes: expected 7, found 2147483648",
        m -> object(m, "provenance").put("workspace_bytes", 7));
    changes.put(
        "workspace_bytes: expected not known",
        m -> object(m, "provenance").remove("workspace_bytes"));
    changes.put("verification: expected none, found asked for", m -> m.putArray("verification"));
    if (part != EnginePart.MODEL) {
      String other = part == EnginePart.DECODER ? "encoder" : "decoder";
      changes.put("part: expected " + other + ", found " + part.key(), m -> m.put("part", other));
    }
    changes.put("has no manifest that can be read: ", m -> m.put("version", 2));
    for (Map.Entry<String, Consumer<ObjectNode>> change : changes.entrySet()) {
      ObjectNode manifest = (ObjectNode) JSON.readTree(text);
      change.getValue().accept(manifest);
      Files.writeString(file, manifest.toString());
      String misfit = misfit(export, new Fake());
      assertTrue(misfit.contains(change.getKey()), change.getKey() + " | " + misfit);
    }
    Files.writeString(file, "{");
    assertTrue(misfit(export, new Fake()).contains("has no manifest that can be read: " + file));
    Files.delete(file);
    assertEquals(export.plan() + " has no manifest", misfit(export, new Fake()));
  }

  private static ObjectNode object(ObjectNode manifest, String field) {
    return (ObjectNode) manifest.get(field);
  }

  @ParameterizedTest
  @EnumSource(EnginePart.class)
  void otherOptionsAreTold(EnginePart part) throws Exception {
    build(export(part));
    boolean model = part == EnginePart.MODEL;
    Map<String, String> changes = new LinkedHashMap<>();
    changes.put("--optimization-level 5", "optimization_level: expected 3, found 5");
    changes.put("--workspace 1", "workspace_bytes: expected 2147483648, found 1048576");
    changes.put("--hardware-compatible", "options: expected ");
    changes.put("--version-compatible", "options: expected ");
    changes.put(
        model ? "--buckets 64,128" : "--autoencoder-sizes 64,128 --autoencoder-batch 2",
        "profiles: expected ");
    for (Map.Entry<String, String> change : changes.entrySet()) {
      String misfit = misfit(export(part, change.getKey().split(" ")), new Fake());
      assertTrue(misfit.contains(change.getValue()), change + " | " + misfit);
    }
  }

  @Test
  void bytesOfTheSameSizeAreTold() throws Exception {
    EngineExport export = export(EnginePart.DECODER);
    build(export);
    byte[] other = new byte[10];
    other[9] = 1;
    Files.write(export.plan(), other);
    String misfit = misfit(export, new Fake());
    assertTrue(misfit.contains("plan.sha256: expected "), misfit);
  }

  @Test
  void anEngineThatWasNotVerifiedFitsWhereThatIsNotAskedFor() throws Exception {
    EngineExport export = export(EnginePart.MODEL, "--no-verify");
    build(export);
    Path file = EngineManifest.fileOf(export.plan());
    ObjectNode manifest = (ObjectNode) JSON.readTree(file.toFile());
    manifest.putArray("verification");
    // A refitted engine tells how the one before it was built.
    ObjectNode built = (ObjectNode) manifest.get("provenance");
    manifest.putObject("provenance").putObject("built").set("built", built);
    Files.writeString(file, manifest.toString());
    assertEquals("none", misfit(export, new Fake()));
  }

  @Test
  void withoutAGpuOrTheLibraryNothingIsTold() throws Exception {
    EngineExport export = export(EnginePart.MODEL);
    build(export);
    Fake machine = new Fake();
    machine.refusal = Optional.of("no driver");
    assertEquals(
        "no engine can be built here: no driver",
        assertThrows(EngineException.class, () -> export.misfit(machine)).getMessage());
    Fake bare = new Fake();
    bare.library = false;
    assertTrue(
        assertThrows(EngineException.class, () -> export.misfit(bare))
            .getMessage()
            .contains("expected libnit_plugins.so, found none"));
  }
}
