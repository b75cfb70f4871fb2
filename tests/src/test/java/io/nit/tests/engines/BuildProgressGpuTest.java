package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.config.NitConfig;
import io.nit.core.cuda.BuildMonitor;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.tensor.DType;
import io.nit.exporter.trt.BuildOptions;
import io.nit.exporter.trt.EngineBuilder;
import io.nit.exporter.trt.TrtModel;
import io.nit.testing.SyntheticWeights;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Collections;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.regex.Pattern;
import org.bytedeco.javacpp.Pointer;
import org.bytedeco.tensorrt.nvinfer.IProgressMonitor;
import org.bytedeco.tensorrt.nvinfer.InterfaceInfo;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Tag;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** What a build of TensorRT's tells of its progress. */
@Tag("gpu")
class BuildProgressGpuTest {
  private static final Pattern SHARE =
      Pattern.compile("building for \\d+ s, (\\d+) % of the steps done.*");

  @TempDir Path folder;

  private static PluginLibrary plugins;

  /** The library's object behind TensorRT's own header, which the bindings were compiled with. */
  private static final class View extends IProgressMonitor {
    View(BuildMonitor monitor) {
      super((Pointer) null);
      address = monitor.address();
    }
  }

  @BeforeAll
  static void needsTensorRt() throws IOException {
    plugins = PluginEngines.require(BuildProgressGpuTest.class);
  }

  @Test
  void theMonitorIsCalledThroughTensorRtsInterface() throws IOException {
    try (BuildMonitor monitor = BuildMonitor.open()) {
      View view = new View(monitor);
      InterfaceInfo info = view.getInterfaceInfo();
      assertEquals("IProgressMonitor 1", info.kind() + " " + info.major());
      view.phaseStart("build", null, 4);
      assertTrue(view.stepComplete("build", 0));
      view.phaseStart("costs", "build", 2);
      assertTrue(view.stepComplete("costs", 0));
      assertEquals(0.375, monitor.share());
      assertEquals("build > costs", monitor.phases());
      view.phaseFinish("costs");
      view.phaseFinish("build");
      assertTrue(monitor.share() < 0);
    }
  }

  @Test
  void aBuildTellsWhichShareOfItIsDone() throws Exception {
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
    List<Integer> shares =
        lines.stream()
            .map(SHARE::matcher)
            .filter(matcher -> matcher.matches())
            .map(matcher -> Integer.parseInt(matcher.group(1)))
            .toList();
    assertFalse(
        shares.isEmpty(), "expected a share from the fifth second of a build on, found " + lines);
    assertTrue(shares.stream().allMatch(share -> share >= 0 && share <= 100), shares.toString());
  }
}
