package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.cuda.BuildMonitor;
import io.nit.core.cuda.BuildMonitor.Timing;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.EngineBuilder;
import io.nit.exporter.trt.MonitorView;
import io.nit.exporter.trt.TrtModel;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import org.bytedeco.tensorrt.nvinfer.InterfaceInfo;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a build of TensorRT's tells of its progress. */
@Tag("gpu")
class BuildProgressGpuTest {
  private static final Pattern PROFILE =
      Pattern.compile("building for \\d+ s: profile (\\d) of 3, (\\d+) % of its layers timed.*");

  @TempDir Path folder;

  private static PluginLibrary plugins;

  @BeforeAll
  static void needsTensorRt() throws IOException {
    plugins = PluginEngines.require(BuildProgressGpuTest.class);
  }

  @Test
  void theMonitorIsCalledThroughTensorRtsInterface() throws IOException {
    try (BuildMonitor monitor = BuildMonitor.open()) {
      MonitorView view = new MonitorView(monitor);
      InterfaceInfo info = view.getInterfaceInfo();
      assertEquals("IProgressMonitor 1", info.kind() + " " + info.major());
      view.phaseStart("Building engine", null, 6);
      assertTrue(view.stepComplete("Building engine", 0));
      assertEquals(Optional.empty(), monitor.timing());
      view.phaseStart("Timing tactics", "Building engine", 3);
      view.phaseStart("Timing graph nodes", "Timing tactics", 4);
      assertTrue(view.stepComplete("Timing graph nodes", 0));
      assertEquals(Optional.of(0.25), monitor.timing().flatMap(Timing::layers));
      assertEquals("Timing graph nodes", monitor.phase());
      view.phaseFinish("Timing graph nodes");
      view.phaseFinish("Timing tactics");
      Timing timed = monitor.timing().orElseThrow();
      assertEquals("1 Optional.empty", timed.profiles() + " " + timed.layers());
      assertEquals("Building engine", monitor.phase());
      view.phaseFinish("Building engine");
      assertEquals("", monitor.phase());
    }
  }

  @Test
  void aBuildTellsWhichProfileIsTimed() throws Exception {
    NitConfig config = NitConfig.s().with(Map.of("num_classes", 5));
    BuildOptions options =
        new BuildOptions(
            0,
            List.of(256, 1024, 4096),
            BuildOptions.MAX_IMAGES,
            BuildOptions.WORKSPACE,
            BuildOptions.OPTIMIZATION_LEVEL,
            Optional.empty());
    TrtModel model =
        TrtModel.write(
            config,
            new SyntheticWeights(config, false),
            DType.BF16,
            options.packPlans(),
            folder.resolve("model.onnx"),
            0,
            bytes -> {});
    List<String> lines = Collections.synchronizedList(new ArrayList<>());
    EngineBuilder.build(
        model, Optional.of(plugins), options, folder.resolve("engine.plan"), lines::add);
    lines.forEach(line -> System.out.println("  " + line));
    List<Integer> percents = new ArrayList<>();
    for (String line : lines) {
      Matcher matcher = PROFILE.matcher(line);
      if (matcher.matches()) {
        // All layers of a profile before it, and so many of its own.
        percents.add(100 * Integer.parseInt(matcher.group(1)) + Integer.parseInt(matcher.group(2)));
      }
    }
    assertFalse(
        percents.isEmpty(),
        "expected a profile from the fifth second of a build on, found " + lines);
    assertEquals(percents.stream().sorted().toList(), percents, lines.toString());
  }
}
