package io.nit.trainer.checkpoint;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class TrainingStateTest {
  @TempDir Path folder;
  private Path file;

  @BeforeEach
  void write() throws IOException {
    file = folder.resolve("state.json");
    CheckpointStoreTest.state(7).write(file);
  }

  private String failure() {
    return assertThrows(IOException.class, () -> TrainingState.read(file)).getMessage();
  }

  @Test
  void whatIsWrittenIsRead() throws IOException {
    assertEquals(CheckpointStoreTest.state(7), TrainingState.read(file));
  }

  @ParameterizedTest
  @CsvSource({
    "'\"version\" : 1', '\"version\" : 2', 'version: expected 1, found 2'",
    "'\"version\" : 1,', '', 'version: expected 1, found nothing'",
    "'\"position\" : 7', '\"position\" : 7.5', '/data/position: expected an integer, found 7.5'",
    "'\"seed\" : -5', '\"seed\" : 99999999999999999999', '/generator/seed: expected an integer,"
        + " found 99999999999999999999'",
    "'\"optimizer_step\"', '\"other\"', '/optimizer_step: expected an integer, found nothing'",
    "'\"options\" : { }', '\"options\" : [ ]', 'options: expected an object, found []'"
  })
  void aFieldThatDoesNotFitIsNamedWithWhatWasFound(String written, String instead, String message)
      throws IOException {
    String text = Files.readString(file);
    assertTrue(text.contains(written), text);
    Files.writeString(file, text.replace(written, instead));
    assertEquals(file + ": " + message, failure());
  }

  @ParameterizedTest
  @CsvSource({
    "'', 'version: expected 1, found nothing'",
    "'null', 'version: expected 1, found nothing'",
    "'{', 'expected JSON, found: '"
  })
  void whatIsNoStateIsNamed(String text, String message) throws IOException {
    Files.writeString(file, text);
    assertTrue(failure().startsWith(file + ": " + message), failure());
  }

  @Test
  void otherBytesAFolderAndAMissingFileAreNamed() throws IOException {
    Files.write(file, "{\"\u00e9\": 1}".getBytes(StandardCharsets.ISO_8859_1));
    assertEquals(file + ": expected UTF-8 text, found other bytes", failure());
    Files.delete(file);
    assertEquals(file.toString(), failure());
    Files.createDirectory(file);
    assertEquals(file + ": expected a file, found a folder", failure());
  }
}
