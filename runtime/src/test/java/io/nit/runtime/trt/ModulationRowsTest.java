package io.nit.runtime.trt;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;

import io.nit.runtime.engine.EngineException;
import io.nit.runtime.trt.TensorRtEngine.Rows;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;

class ModulationRowsTest {
  private static final Path FILE = Path.of("bundle", "engine.plan");

  @Test
  void allProfilesTakeOneTable() throws Exception {
    assertEquals(2048, TensorRtEngine.oneTable(FILE, List.of(new Rows(512, 2048))));
    List<Rows> same = List.of(new Rows(512, 2048), new Rows(16384, 2048));
    assertEquals(2048, TensorRtEngine.oneTable(FILE, same));
  }

  @Test
  void plansThatDifferAreNamedWithTheirValues() {
    List<Rows> all = List.of(new Rows(512, 1024), new Rows(1024, 1024), new Rows(16384, 2048));
    assertEquals(
        FILE
            + ": modulation: expected as many rows in all profiles, found 1024 in the profile of"
            + " 512 tokens and 2048 in that of 16384",
        assertThrows(EngineException.class, () -> TensorRtEngine.oneTable(FILE, all)).getMessage());
  }
}
