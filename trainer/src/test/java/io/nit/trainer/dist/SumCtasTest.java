package io.nit.trainer.dist;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import java.util.Map;
import java.util.OptionalInt;
import org.junit.jupiter.api.Test;

class SumCtasTest {
  @Test
  void oursCountsBeforeNcclsOwn() {
    assertEquals(OptionalInt.empty(), SumCtas.of(Map.of()));
    assertEquals(OptionalInt.of(0), SumCtas.of(Map.of("NIT_SUM_CTAS", "0", "NCCL_MAX_CTAS", "8")));
    assertEquals(OptionalInt.of(32), SumCtas.of(Map.of("NIT_SUM_CTAS", " 32 ")));
    assertEquals(OptionalInt.of(8), SumCtas.of(Map.of("NCCL_MAX_CTAS", "8")));
    assertEquals(OptionalInt.of(32), SumCtas.of(Map.of("NCCL_MAX_NCHANNELS", "64")));
    assertEquals(OptionalInt.empty(), SumCtas.of(Map.of("NCCL_MAX_CTAS", "many")));
  }

  @Test
  void whatIsNoNumberOfOursIsRefused() {
    for (String text : new String[] {"", "-1", "33", "four", "4.0"}) {
      IllegalArgumentException e =
          assertThrows(
              IllegalArgumentException.class, () -> SumCtas.of(Map.of("NIT_SUM_CTAS", text)));
      assertEquals("NIT_SUM_CTAS: expected 0..32, found '" + text + "'", e.getMessage());
    }
  }
}
