package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertEquals;

import ai.onnxruntime.OrtException;
import io.nit.runtime.ort.CudaProbe.Answer;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class CudaProbeTest {
  private final CudaProbe.Answers answers = new CudaProbe.Answers();
  private final AtomicInteger tries = new AtomicInteger();

  private Optional<String> ask(int device, Answer answer) {
    return answers.of(
        device,
        () -> {
          tries.incrementAndGet();
          return answer;
        });
  }

  @Test
  void aDeviceThatWasFullIsAskedAgain() {
    Optional<String> full = Optional.of("out of memory");
    Answer works = new Answer(Optional.empty(), true);
    assertEquals(full, ask(0, new Answer(full, false)));
    assertEquals(full, ask(0, new Answer(full, false)));
    assertEquals(Optional.empty(), ask(0, works));
    assertEquals(Optional.empty(), ask(0, new Answer(full, false)));
    assertEquals(3, tries.get());
  }

  @Test
  void whatLastsIsAskedOnceADevice() {
    Optional<String> missing = Optional.of("no library");
    assertEquals(missing, ask(0, new Answer(missing, true)));
    assertEquals(missing, ask(0, new Answer(Optional.empty(), true)));
    assertEquals(Optional.empty(), ask(1, new Answer(Optional.empty(), true)));
    assertEquals(2, tries.get());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "Failed to load library libonnxruntime_providers_cuda.so with error: libcublasLt.so.12:"
            + " cannot open shared object file: No such file or directory | true",
        "CUDA failure 35: CUDA driver version is insufficient for CUDA runtime version | true",
        "CUDA failure 100: no CUDA-capable device is detected ; GPU=-1 | true",
        "CUDA failure 101: invalid device ordinal ; GPU=7 | true",
        "CUDA failure 2: out of memory ; GPU=0 | false",
        "CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0 | false",
        "CUDNN failure 4000: CUDNN_STATUS_INTERNAL_ERROR ; GPU=0 | false",
        "Failed to allocate memory for requested buffer of size 4194304 | false"
      })
  void onlyWhatCannotChangeLasts(String message, boolean lasts) {
    assertEquals(lasts, CudaProbe.lasts(new OrtException(message)));
  }

  @Test
  void aLibraryThatDoesNotLinkLasts() {
    assertEquals(true, CudaProbe.lasts(new UnsatisfiedLinkError("libcudart.so.12")));
  }
}
