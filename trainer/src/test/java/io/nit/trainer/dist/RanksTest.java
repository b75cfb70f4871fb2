package io.nit.trainer.dist;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.HashMap;
import java.util.Map;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class RanksTest {
  private static Map<String, String> torchrun() {
    return new HashMap<>(
        Map.of(
            "RANK", "3",
            "WORLD_SIZE", "8",
            "LOCAL_RANK", "1",
            "MASTER_ADDR", "node-7",
            "MASTER_PORT", "29500"));
  }

  @Test
  void torchrunsVariablesAreRead() {
    assertEquals(new Ranks(3, 8, 1, "node-7", 29500), Ranks.of(torchrun()));
    assertFalse(Ranks.of(torchrun()).leads());
  }

  @Test
  void anEnvironmentWithoutRanksIsOneProcess() {
    assertEquals(Ranks.alone(), Ranks.of(Map.of("PATH", "/bin", "MASTER_PORT", "x")));
    assertTrue(Ranks.alone().leads());
    assertEquals(1, Ranks.of(Map.of("RANK", "0", "WORLD_SIZE", "1")).worldSize());
  }

  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      value = {
        "RANK | 8 | RANK: expected 0..7 (WORLD_SIZE - 1), found 8",
        "RANK | -1 | RANK: expected 0..7 (WORLD_SIZE - 1), found -1",
        "RANK | three | RANK: expected a number, found 'three'",
        "WORLD_SIZE | 0 | WORLD_SIZE: expected 1..65536, found 0",
        "MASTER_PORT | 70000 | MASTER_PORT: expected 1..65535, found 70000",
        "LOCAL_RANK | -2 | LOCAL_RANK: expected 0 or more, found -2",
      })
  void aBadValueIsNamed(String name, String value, String message) {
    Map<String, String> environment = torchrun();
    environment.put(name, value);
    assertEquals(
        message,
        assertThrows(IllegalArgumentException.class, () -> Ranks.of(environment)).getMessage());
  }

  @ParameterizedTest
  @CsvSource({"RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT"})
  void halfAnEnvironmentIsRefused(String name) {
    Map<String, String> environment = torchrun();
    environment.remove(name);
    assertEquals(
        "environment: expected RANK, WORLD_SIZE, MASTER_ADDR, MASTER_PORT together, found no "
            + name
            + "; start with torchrun's variables or with --nproc",
        assertThrows(IllegalArgumentException.class, () -> Ranks.of(environment)).getMessage());
  }
}
