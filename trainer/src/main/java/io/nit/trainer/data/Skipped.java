package io.nit.trainer.data;

import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import io.nit.core.io.AtomicFile;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;

/**
 * A picture that a data set goes without.
 *
 * @param imageFile path inside the data folder, with {@code /}
 * @param reason what is wrong with it
 */
public record Skipped(String imageFile, String reason) {
  /**
   * Writes {@code skipped.jsonl}, one object a row: {@code {"image_file", "reason"}}. Without
   * skipped pictures there is no file, and one of before is removed.
   */
  public static void write(Path file, List<Skipped> skipped) throws IOException {
    if (skipped.isEmpty()) {
      Files.deleteIfExists(file);
      return;
    }
    StringBuilder rows = new StringBuilder();
    for (Skipped one : skipped) {
      rows.append(
              JsonNodeFactory.instance
                  .objectNode()
                  .put("image_file", one.imageFile)
                  .put("reason", one.reason))
          .append('\n');
    }
    AtomicFile.writeString(file, rows.toString());
  }
}
