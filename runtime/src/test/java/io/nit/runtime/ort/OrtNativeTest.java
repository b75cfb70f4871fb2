package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.File;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class OrtNativeTest {
  @TempDir Path folder;

  @Test
  void aCudaBuildOnTheLibraryPathIsFoundWhereItIsWhole() throws Exception {
    Path half = Files.createDirectory(folder.resolve("half"));
    Path whole = Files.createDirectory(folder.resolve("whole"));
    for (String name :
        List.of(
            "onnxruntime",
            "onnxruntime4j_jni",
            "onnxruntime_providers_shared",
            "onnxruntime_providers_cuda")) {
      Files.createFile(whole.resolve(System.mapLibraryName(name)));
      if (!name.endsWith("cuda")) {
        Files.createFile(half.resolve(System.mapLibraryName(name)));
      }
    }
    String path = String.join(File.pathSeparator, "", half.toString(), "/none", whole.toString());
    assertEquals(Optional.of(whole.toAbsolutePath()), OrtNative.cudaBuild(path));
    assertEquals(Optional.empty(), OrtNative.cudaBuild(half.toString()));
    assertEquals(Optional.empty(), OrtNative.cudaBuild(""));
  }

  @Test
  void aCommandLineThatWouldCrashTheProcessIsRefusedWithTheWayOut() {
    String reason = OrtNative.crash(null, 5000).orElseThrow();
    assertTrue(reason.contains("5000") && reason.contains("ORT_DISABLE_TELEMETRY=1"), reason);
    assertTrue(OrtNative.crash("0", 5000).isPresent());
  }

  @Test
  void aShortCommandLineOrNoTelemetryIsFine() {
    assertEquals(Optional.empty(), OrtNative.crash(null, 3000));
    assertEquals(Optional.empty(), OrtNative.crash("1", 1_000_000));
  }
}
