package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;
import static org.junit.jupiter.api.Assumptions.assumeFalse;

import ai.onnxruntime.OrtEnvironment;
import ai.onnxruntime.OrtProvider;
import io.nit.runtime.engine.EngineOptions;
import java.util.Optional;
import org.junit.jupiter.api.Test;

class OrtDeviceTest {
  @Test
  void theCpuIsAlwaysThere() {
    assertEquals(Optional.empty(), OrtDevice.CPU.refusal(EngineOptions.DEFAULT));
    assertTrue(OrtDevice.CPU.describe(new EngineOptions(3)).endsWith(", CPU, 3 threads"));
  }

  @Test
  void withoutItsCudaBuildTheRefusalNamesTheOneThatHasIt() {
    assumeFalse(
        OrtEnvironment.getAvailableProviders().contains(OrtProvider.CUDA), "this build has CUDA");
    String refusal = OrtDevice.CUDA.refusal(EngineOptions.DEFAULT).orElseThrow();
    assertTrue(refusal.contains("onnxruntime_gpu") && refusal.contains("-Pgpu"), refusal);
  }
}
