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
  void whatFailsIsToldInOneLineAndMemoryThatRanOutWithTheWayOut() {
    assertEquals("a b c", OrtSessions.reason(new IllegalStateException(" a\n  b\tc\n")));
    assertEquals(
        "Failed to load library x.so",
        OrtSessions.reason(
            new IllegalStateException(
                "Error code - ORT_FAIL - message: /a/b.cc:1988 Get() [ONNXRuntimeError] : 1 : FAIL :"
                    + " Failed to load library x.so")));
    String reason =
        OrtSessions.reason(
            new IllegalStateException("Failed to allocate memory for requested buffer of size 9"));
    assertTrue(reason.startsWith("out of memory") && reason.endsWith("of size 9"), reason);
  }

  @Test
  void withoutItsCudaBuildTheRefusalNamesTheOneThatHasIt() {
    assumeFalse(
        OrtEnvironment.getAvailableProviders().contains(OrtProvider.CUDA), "this build has CUDA");
    String refusal = OrtDevice.CUDA.refusal(EngineOptions.DEFAULT).orElseThrow();
    assertTrue(refusal.contains("onnxruntime_gpu") && refusal.contains("-Pgpu"), refusal);
  }
}
