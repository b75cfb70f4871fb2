package io.nit.tests.engines;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.bundle.Bundle;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.trt.Gpu;
import io.nit.core.trt.TensorRt;
import io.nit.core.trt.TensorRtException;
import io.nit.exporter.cli.Export;
import io.nit.exporter.onnx.NitGraph;
import io.nit.exporter.testing.SyntheticModel;
import io.nit.exporter.trt.SmallPackKernels;
import io.nit.testing.CapturedRun;
import java.io.IOException;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.Optional;

/** What the tests of engines share. */
final class PluginEngines {
  /** A small model with the heads of NiT-XL. */
  static final NitConfig TINY =
      NitConfig.s()
          .with(
              Map.of(
                  "hidden_size", 144,
                  "depth", 3,
                  "num_heads", 2,
                  "in_channels", 4,
                  "num_classes", 5,
                  "encoder_depth", 1));

  /** The same for pictures, by {@link SpaceToDepthCodec} of factor 4. */
  static final NitConfig PICTURES = TINY.with(Map.of("in_channels", 48, "num_classes", 4));

  private PluginEngines() {}

  /**
   * Why engines with our plugins cannot be tested for want of the library; empty if it is there.
   */
  static String libraryMissing() {
    boolean built =
        PluginEngines.class.getClassLoader().getResource(PluginLibrary.RESOURCE) != null
            || System.getProperty(PluginLibrary.LIBRARY_PROPERTY) != null;
    return built ? "" : "plugins-trt was built without nvcc";
  }

  /** Skips a class where there is no GPU, TensorRT or library, and prints which. */
  static PluginLibrary require(Class<?> test) throws IOException {
    String missing = libraryMissing();
    skipIf(missing.isEmpty() ? TensorRt.refusal(0).orElse("") : missing, test);
    PluginLibrary plugins = PluginLibrary.find();
    System.out.println("  " + plugins);
    return plugins;
  }

  /** Whether packs of few tokens can have a plan of their own here. */
  static boolean smallPlanHere(PluginLibrary plugins) throws TensorRtException {
    return SmallPackKernels.refusalOn(Gpu.open(0).computeCapability(), plugins).isEmpty();
  }

  /** Skips a test where there are no kernels for a plan of small packs, and prints why. */
  static void requireSmallPlan(PluginLibrary plugins) throws TensorRtException {
    Optional<String> refusal = SmallPackKernels.refusalOn(Gpu.open(0).computeCapability(), plugins);
    refusal.ifPresent(reason -> System.out.println("  small plan skipped: " + reason));
    assumeTrue(refusal.isEmpty(), refusal.orElse(""));
  }

  /** Skips a class for a reason that is not empty, and prints it. */
  static void skipIf(String reason, Class<?> test) {
    if (!reason.isEmpty()) {
      System.out.println(test.getSimpleName() + " skipped: " + reason);
    }
    assumeTrue(reason.isEmpty(), reason);
  }

  /**
   * A bundle that makes pictures, with a bf16 engine for packs of up to {@code maxTokens}.
   *
   * @param config as {@link #PICTURES}
   * @return its folder
   */
  static Path served(NitConfig config, int maxTokens, Path folder) throws IOException {
    Path model = SyntheticModel.write(config, folder);
    new Bundle(
            folder,
            config,
            "model.onnx",
            "F32",
            NitGraph.OPSET,
            Optional.of(new SpaceToDepthCodec(4)),
            Optional.empty(),
            List.of(),
            maxTokens,
            Bundle.SamplingDefaults.STANDARD,
            List.of(Bundle.describe(model)),
            JsonNodeFactory.instance.arrayNode(),
            JsonNodeFactory.instance.objectNode())
        .write();
    CapturedRun run =
        CapturedRun.of(
            new Export(), "engine", folder, "--no-verify", "--buckets", "256," + maxTokens);
    System.out.println(run.err());
    assertEquals(0, run.code(), run.err());
    return folder;
  }
}
