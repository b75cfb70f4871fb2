package io.nit.exporter.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.bundle.EngineManifest.Hardware;
import io.nit.core.bundle.EngineManifest.Traits;
import io.nit.core.bundle.EngineManifest.Weights;
import io.nit.core.trt.TensorRtException;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PortabilityTest {
  private static final Traits AMPERE = new Traits(false, Hardware.AMPERE_PLUS, Weights.FIXED);

  @TempDir Path folder;

  @AfterEach
  void forget() {
    System.clearProperty(LeanRuntime.PROPERTY);
  }

  @Test
  void aHardwareCompatiblePlanNeedsKernelsForItsOldestGpu() throws Exception {
    EngineBuilder.requirePortable(MadeUpLibrary.of("sm_80", "sm_90a"), AMPERE);
    EngineBuilder.requirePortable(MadeUpLibrary.of("sm_90a"), Traits.NONE);
    String message =
        assertThrows(
                TensorRtException.class,
                () -> EngineBuilder.requirePortable(MadeUpLibrary.of("sm_86", "sm_90a"), AMPERE))
            .getMessage();
    assertTrue(
        message.contains("expected our kernels for sm_80 and newer, found sm_86, sm_90a"), message);
  }

  @Test
  void theLeanRuntimeIsLookedForAndItsAbsenceTold() throws IOException, TensorRtException {
    String message =
        assertThrows(TensorRtException.class, () -> LeanRuntime.find("99.1.0")).getMessage();
    assertTrue(
        message.contains("libnvinfer_lean.so.99") && message.contains(LeanRuntime.PROPERTY),
        message);
    Path file = folder.resolve("lean.so");
    System.setProperty(LeanRuntime.PROPERTY, file.toString());
    message = assertThrows(TensorRtException.class, () -> LeanRuntime.find("10.6.0")).getMessage();
    assertTrue(message.contains("expected a file, found none at " + file), message);
    Files.writeString(file, "no library");
    assertEquals(file, LeanRuntime.find("10.6.0"));
  }
}
