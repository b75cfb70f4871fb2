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

  /** How ONNX Runtime says where in CUDA's provider an error arose. */
  private static String cudaCall(int line) {
    return "/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_call.cc:"
        + line
        + " std::conditional_t<THRW, void, onnxruntime::common::Status> onnxruntime::CudaCall("
        + "ERRTYPE, const char*, const char*, SUCCTYPE, const char*, const char*, int) [with"
        + " ERRTYPE = cublasStatus_t; bool THRW = true; SUCCTYPE = cublasStatus_t;"
        + " std::conditional_t<THRW, void, common::Status> = void] ";
  }

  private static String reason(String message) {
    return OrtSessions.reason(new IllegalStateException(message));
  }

  @Test
  void memoryThatRanOutIsToldWithoutThePlaceInTheSources() {
    String start =
        "out of memory: expected more than is free (smaller packs and smaller tiles need less),"
            + " found: ";
    assertEquals(
        start
            + "CUBLAS failure 3: the resource allocation failed ; GPU=0"
            + " ; expr=cublasCreate(&cublas_handle_);",
        reason(
            "Error code - ORT_FAIL - message: "
                + cudaCall(122)
                + cudaCall(114)
                + "CUBLAS failure 3: the resource allocation failed ; GPU=0 ; hostname=vm ;"
                + " file=/onnxruntime_src/onnxruntime/core/providers/cuda/cuda_stream_handle.cc ;"
                + " line=78 ; expr=cublasCreate(&cublas_handle_); "));
    assertEquals(
        start
            + "Non-zero status code returned while running MatMul node. Name:'/mlp/MatMul' Status"
            + " Message: Failed to allocate memory for requested buffer of size 134217728",
        reason(
            "Error code - ORT_RUNTIME_EXCEPTION - message: Non-zero status code returned while"
                + " running MatMul node. Name:'/mlp/MatMul' Status Message:"
                + " /onnxruntime_src/onnxruntime/core/framework/bfc_arena.cc:368 void*"
                + " onnxruntime::BFCArena::AllocateRawInternal(size_t, bool, onnxruntime::Stream*,"
                + " bool, onnxruntime::WaitNotificationFn) Failed to allocate memory for requested"
                + " buffer of size 134217728"));
    for (String words :
        new String[] {
          "CUDA failure 2: out of memory ; GPU=0 ; expr=cudaMalloc((void**)&p, size);",
          "CUDNN failure 4003: CUDNN_STATUS_ALLOC_FAILED ; GPU=0 ; expr=cudnnCreate(&handle);",
          "CUDNN failure 4004: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED ; GPU=0"
        }) {
      assertEquals(
          start + words, reason("Error code - ORT_FAIL - message: " + cudaCall(9) + words));
    }
  }

  @Test
  void otherErrorsKeepTheirWords() {
    assertEquals(
        "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ; expr=f(a, b);",
        reason(
            "Error code - ORT_FAIL - message: "
                + cudaCall(122)
                + "CUDA failure 700: an illegal memory access was encountered ; GPU=0 ;"
                + " hostname=vm ; file=/a/b.cc ; line=7 ; expr=f(a, b);"));
    assertEquals(
        "Load model from m.onnx failed:Protobuf parsing failed (see README.h).",
        reason(
            "Error code - ORT_INVALID_PROTOBUF - message: Load model from m.onnx failed:Protobuf"
                + " parsing failed (see README.h)."));
  }

  @Test
  void withoutItsCudaBuildTheRefusalNamesTheOneThatHasIt() {
    assumeFalse(
        OrtEnvironment.getAvailableProviders().contains(OrtProvider.CUDA), "this build has CUDA");
    String refusal = OrtDevice.CUDA.refusal(EngineOptions.DEFAULT).orElseThrow();
    assertTrue(refusal.contains("onnxruntime_gpu") && refusal.contains("-Pgpu"), refusal);
  }
}
