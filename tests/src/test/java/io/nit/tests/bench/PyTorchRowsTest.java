package io.nit.tests.bench;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PyTorchRowsTest {
  @TempDir Path folder;

  private String script(String text) throws IOException {
    Path file = folder.resolve("a script.sh");
    Files.writeString(file, text);
    return "sh '" + file + "'";
  }

  @Test
  void everyPackOfOneLayoutIsARow() throws Exception {
    String command =
        script(
            """
            echo "Some GPU torch 2"
            echo "a warning" >&2
            shift
            for pack in "$@"; do
              echo "train $pack: 16104 tokens 143.4 ms 112275 tokens/s peak 30.9 GiB, compiled in 115 s"
            done
            """);
    assertEquals(
        List.of(
            new PyTorchRows.Row("mixed", 16104, 143.4, 112275, 30.9),
            new PyTorchRows.Row("512px", 16104, 143.4, 112275, 30.9)),
        PyTorchRows.measure(command, List.of("mixed", "random", "512px", "drawn")));
    assertEquals(List.of(), PyTorchRows.measure("false", List.of("random")));
  }

  @Test
  void aScriptThatFailsOrMeasuresNothingIsAnErrorWithItsLastLines() throws IOException {
    for (String text : List.of("echo one; echo no GPU; exit 3", "echo nothing")) {
      String command = script(text);
      IOException refused =
          assertThrows(
              IOException.class, () -> PyTorchRows.measure(command, List.of("mixed")), text);
      assertTrue(refused.getMessage().contains("expected exit code 0"), refused.getMessage());
      assertTrue(
          refused.getMessage().contains(text.contains("3") ? "found 3: one | no GPU" : "nothing"),
          refused.getMessage());
    }
  }
}
