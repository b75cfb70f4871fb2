package io.nit.runtime.ort;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.Optional;
import org.junit.jupiter.api.Test;

class OrtNativeTest {
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
