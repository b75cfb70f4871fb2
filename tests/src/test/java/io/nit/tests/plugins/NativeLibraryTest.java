package io.nit.tests.plugins;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import io.nit.core.cuda.BuildMonitor;
import io.nit.core.cuda.KernelException;
import io.nit.core.cuda.NitKernels;
import io.nit.core.cuda.PluginLibrary;
import io.nit.core.cuda.SamplerKernels;
import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.AfterAll;
import org.junit.jupiter.api.BeforeAll;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

/** The library that this build made, loaded and called from Java, without a GPU. */
class NativeLibraryTest {
  @TempDir static Path cache;

  @BeforeAll
  static void needsTheLibrary() {
    boolean built =
        NativeLibraryTest.class.getClassLoader().getResource(PluginLibrary.RESOURCE) != null;
    if (!built) {
      System.out.println("NativeLibraryTest skipped: plugins-trt was built without nvcc");
    }
    assumeTrue(built, "plugins-trt was built without nvcc");
    System.setProperty(PluginLibrary.CACHE_PROPERTY, cache.toString());
  }

  @AfterAll
  static void forget() {
    System.clearProperty(PluginLibrary.CACHE_PROPERTY);
  }

  @Test
  void theFileAndTheLoadedCodeTellTheSame() throws IOException {
    PluginLibrary library = NitKernels.load().library();
    assertEquals(
        "NIT_PLUGINS{version="
            + library.version()
            + ";cuda="
            + library.cuda()
            + ";architectures="
            + String.join(",", library.architectures())
            + "}",
        NitKernels.description());
    assertTrue(library.file().startsWith(cache), library + " was not unpacked to " + cache);
    assertEquals(PluginLibrary.Source.CLASS_PATH, library.source());
  }

  @Test
  void itHoldsHoppersCode() throws IOException {
    assertEquals(Optional.of("sm_90a"), NitKernels.load().library().architectureFor(9, 0));
  }

  @Test
  void aWrongValueIsRefusedBeforeAnyGpuIsAskedFor() throws IOException {
    NitKernels kernels = NitKernels.load();
    KernelException attention =
        assertThrows(
            KernelException.class,
            () ->
                kernels.varlenAttention(
                    16,
                    32,
                    48,
                    64,
                    0,
                    80,
                    100,
                    2,
                    16,
                    71,
                    3408,
                    1136,
                    0,
                    NitKernels.BF16,
                    NitKernels.Path.AUTO,
                    0));
    assertEquals(
        "nitVarlenAttention: expected headDim a multiple of 8 from 8 to 128, found 71",
        attention.getMessage());
    KernelException rope =
        assertThrows(
            KernelException.class,
            () ->
                kernels.qkNormRope2d(
                    16,
                    16,
                    32,
                    48,
                    64,
                    0,
                    0,
                    0,
                    10,
                    16,
                    72,
                    3456,
                    3456,
                    1e-5f,
                    NitKernels.BF16,
                    0));
    assertEquals(
        "nitQkNormRope2d: expected all four of qWeight, qBias, kWeight and kBias, or none",
        rope.getMessage());
    KernelException adaLn =
        assertThrows(
            KernelException.class,
            () -> kernels.packedAdaLn(16, 32, 48, 64, 80, 10, 1152, 1151, 1e-6f, 0, 0));
    assertEquals(
        "nitPackedAdaLn: expected modulationStride >= hidden (1152), found 1151",
        adaLn.getMessage());
    assertEquals(
        "y: expected a device address, found 0",
        assertThrows(
                KernelException.class,
                () -> kernels.gatedResidual(16, 0, 32, 48, 64, 10, 1152, 1152, 0, 0))
            .getMessage());
  }

  @Test
  void theSamplersKernelsTakeTheTableThatJavaWrites() throws IOException {
    SamplerKernels.load();
    assertEquals(
        "nitSamplerAdvance: expected 1 image or more and a value or more of each, found 3 and 2",
        assertThrows(
                KernelException.class, () -> SamplerKernels.advance(16, 32, 48, 64, 0, 80, 2, 3, 0))
            .getMessage());
    assertEquals(
        "nitSamplerGather: expected images, state, velocity and x, found NULL among them",
        assertThrows(KernelException.class, () -> SamplerKernels.gather(16, 32, 48, 0, 2, 1, 0))
            .getMessage());
  }

  @Test
  void noHotKernelSpills() throws IOException {
    List<String> hopper = new ArrayList<>();
    try (BufferedReader in =
        new BufferedReader(
            new InputStreamReader(
                getClass()
                    .getClassLoader()
                    .getResourceAsStream(
                        PluginLibrary.RESOURCE.replace("libnit_plugins.so", "resource-usage.tsv")),
                StandardCharsets.UTF_8))) {
      assertEquals(
          "kernel\tarchitecture\tregisters\tstack_bytes\tspill_store_bytes\tspill_load_bytes",
          in.readLine());
      for (String line = in.readLine(); line != null; line = in.readLine()) {
        String[] cells = line.split("\t");
        if (cells[0].contains("varlenAttention")) {
          assertEquals("0 0 0", String.join(" ", cells[3], cells[4], cells[5]), line);
          if (cells[0].contains("LongKernel") || cells[0].contains("ShortKernel")) {
            hopper.add(cells[1]);
          }
        }
      }
    }
    assertFalse(hopper.isEmpty(), "no Hopper kernel in the table");
    assertEquals(List.of("sm_90a"), hopper.stream().distinct().toList());
  }

  @Test
  void aMonitorOfBuildsIsClosedOnceHoweverOften() throws IOException {
    BuildMonitor monitor = BuildMonitor.open();
    assertTrue(monitor.address() != 0);
    assertEquals(Optional.empty(), monitor.timing());
    assertEquals("", monitor.phase());
    monitor.close();
    monitor.close();
    assertEquals(Optional.empty(), monitor.timing());
    assertEquals("", monitor.phase());
    assertThrows(IllegalStateException.class, monitor::address);
  }
}
