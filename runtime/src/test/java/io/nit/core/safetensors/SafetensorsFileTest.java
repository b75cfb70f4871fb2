package io.nit.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import java.io.ByteArrayOutputStream;
import java.io.IOException;
import java.io.RandomAccessFile;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.CsvSource;

class SafetensorsFileTest {
  private static final String ONE =
      "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}}";

  @TempDir Path folder;

  @Test
  void aFileWrittenByHandIsReadFieldByField() throws IOException {
    String header =
        "{\"__metadata__\": {\"format\": \"pt\"},"
            + "\"b\": {\"dtype\": \"I32\", \"shape\": [1, 2], \"data_offsets\": [8, 16]},"
            + "\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]},"
            + "\"none\": {\"dtype\": \"F16\", \"shape\": [0, 3], \"data_offsets\": [16, 16]}}";
    ByteBuffer data = ByteBuffer.allocate(16).order(ByteOrder.LITTLE_ENDIAN);
    data.putFloat(1.5f).putFloat(-2).putInt(7).putInt(-8);
    try (TensorSource file = TensorSource.open(file(header, data.array()))) {
      assertEquals("pt", file.metadata().get("format"));
      assertEquals("[a, b, none]", file.specs().keySet().toString(), "in file order");
      assertArrayEquals(new float[] {1.5f, -2}, file.tensor("a").toFloats());
      assertArrayEquals(new long[] {7, -8}, file.tensor("b").toLongs());
      assertEquals(Shape.of(1, 2), file.tensor("b").shape());
      assertEquals(0, file.tensor("none").toFloats().length);
      assertEquals(DType.F16, file.tensor("none").dtype());
    }
  }

  /** Header text, data bytes, and what the message must say beside the file's name. */
  @ParameterizedTest
  @CsvSource(
      delimiter = '|',
      quoteCharacter = '`',
      value = {
        "not json at all | 8 | expected a JSON header",
        "[1, 2] | 8 | expected a JSON object",
        "{} {} | 0 | expected a JSON header",
        "{\"a\": 5} | 8 | a: expected dtype, shape and data_offsets",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}, \"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [8, 16]}} | 16 | twice",
        "{\"a\": {\"dtype\": \"F32\", \"dtype\": \"I32\", \"shape\": [2], \"data_offsets\": [0, 8]}} | 8 | twice",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [-2], \"data_offsets\": [0, 8]}} | 8 | a.shape: expected whole numbers of 0 or more, found -2",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2.0], \"data_offsets\": [0, 8]}} | 8 | a.shape: expected whole numbers of 0 or more, found 2.0",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [4294967296, 4294967296], \"data_offsets\": [0, 8]}} | 8 | a: shape [4294967296, 4294967296]: too many elements",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [4611686018427387905], \"data_offsets\": [0, 4]}} | 4 | a: ",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [99999999999999999999], \"data_offsets\": [0, 8]}} | 8 | a.shape: expected whole numbers",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [-8, 0]}} | 8 | a.data_offsets: expected whole numbers of 0 or more, found -8",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [8, 0]}} | 8 | a: expected 8 bytes for F32 [2], found data_offsets [8, 0)",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [3], \"data_offsets\": [0, 8]}} | 8 | a: expected 12 bytes for F32 [3], found data_offsets [0, 8)",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [9223372036854775799, 9223372036854775807]}} | 8 | a: ",
        "{\"a\": {\"dtype\": \"F8\", \"shape\": [2], \"data_offsets\": [0, 8]}} | 8 | a: dtype: expected one of",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}, \"b\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [4, 12]}} | 12 | b: expected its data at offset 8, found 4 (overlap)",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}, \"b\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}} | 8 | (overlap)",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}, \"b\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [12, 20]}} | 20 | b: expected its data at offset 8, found 12 (hole)",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [4, 12]}} | 12 | a: expected its data at offset 0, found 4 (hole)",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}} | 7 | (truncated)",
        "{\"a\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": [0, 8]}} | 9 | 1 more after the last tensor",
        "{\"__metadata__\": 3} | 0 | __metadata__: expected an object of strings",
        "{\"__metadata__\": {\"step\": 3}} | 0 | __metadata__.step: expected a string",
      })
  void hostileHeadersAreRefused(String header, int bytes, String message) throws IOException {
    assertRefused(file(header, new byte[bytes]), message);
  }

  @ParameterizedTest
  @CsvSource({
    "0, found length 0",
    "1, found length 1",
    "1000000, found length 1000000",
    "-1, found length 18446744073709551615",
    "-9223372036854775808, found length 9223372036854775808",
    "9223372036854775807, found length 9223372036854775807",
  })
  void headerLengthsOutsideTheFileAreRefused(long length, String message) throws IOException {
    assertRefused(raw(length, ONE.getBytes(StandardCharsets.UTF_8), new byte[8]), message);
  }

  @Test
  void aHeaderBeyondTheFormatsLimitIsRefusedWithoutReadingIt() throws IOException {
    Path path = folder.resolve("huge.safetensors");
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.write(length(100_000_001));
      file.setLength(200_000_000);
    }
    assertRefused(path, "expected a header of 2..100000000 bytes, found length 100000001");
  }

  @Test
  void aHeaderThatIsNotUtf8IsRefused() throws IOException {
    byte[] header = ONE.replace("\"a\"", "\"é\"").getBytes(StandardCharsets.ISO_8859_1);
    assertRefused(raw(header.length, header, new byte[8]), "UTF-8");
  }

  @Test
  void deeplyNestedJsonIsRefused() throws IOException {
    assertRefused(
        file("{\"a\":" + "[".repeat(100_000) + "]".repeat(100_000) + "}", new byte[0]), "nest");
  }

  @Test
  void filesTooShortForAHeaderAreRefused() throws IOException {
    Path path = folder.resolve("short.safetensors");
    for (int size : new int[] {0, 7}) {
      Files.write(path, new byte[size]);
      assertRefused(path, "found a file of " + size + " bytes");
    }
  }

  @Test
  void everyTruncationOfAFileIsRefused() throws IOException {
    byte[] whole = Files.readAllBytes(file(ONE, new byte[8]));
    Path path = folder.resolve("cut.safetensors");
    for (int size = 0; size < whole.length; size++) {
      Files.write(path, Arrays.copyOf(whole, size));
      assertThrows(SafetensorsException.class, () -> SafetensorsFile.open(path));
    }
  }

  @Test
  void foldersAndMissingFilesAreNamed() {
    assertRefused(folder, "expected a safetensors file, found a folder");
    Path missing = folder.resolve("none.safetensors");
    assertEquals(
        missing.toString(),
        assertThrows(NoSuchFileException.class, () -> SafetensorsFile.open(missing)).getFile());
  }

  @Test
  void aTensorBeyondTwoGibibytesIsReadWhereItLies() throws IOException {
    long gap = 3L << 30;
    String header =
        "{\"zeros\": {\"dtype\": \"U8\", \"shape\": [3, 1073741824], \"data_offsets\": [0, "
            + gap
            + "]}, \"tail\": {\"dtype\": \"F32\", \"shape\": [2], \"data_offsets\": ["
            + gap
            + ", "
            + (gap + 8)
            + "]}}";
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    Path path = folder.resolve("sparse.safetensors");
    try (RandomAccessFile file = new RandomAccessFile(path.toFile(), "rw")) {
      file.write(length(json.length));
      file.write(json);
      file.setLength(8 + json.length + gap + 8); // a hole on disk
      file.seek(8 + json.length + gap);
      file.write(
          ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putFloat(4).putFloat(5).array());
    }
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertArrayEquals(new float[] {4, 5}, file.tensor("tail").toFloats());
      String message =
          assertThrows(SafetensorsException.class, () -> file.tensor("zeros")).getMessage();
      assertTrue(message.contains("zeros: expected at most 2 GiB in one tensor"), message);
    }
  }

  @Test
  void tensorsOutliveTheFileButItsUseAfterCloseThrows() throws IOException {
    SafetensorsFile file = SafetensorsFile.open(file(ONE, new byte[8]));
    HostTensor tensor = file.tensor("a");
    file.close();
    file.close();
    assertArrayEquals(new float[2], tensor.toFloats());
    assertThrows(IllegalStateException.class, () -> file.tensor("a"));
  }

  @Test
  void mappedTensorsAreReadOnly() throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(file(ONE, new byte[8]))) {
      assertTrue(file.tensor("a").bytes().isReadOnly());
    }
  }

  @Test
  void askingForAnAbsentTensorNamesItAndTheFile() throws IOException {
    try (SafetensorsFile file = SafetensorsFile.open(file(ONE, new byte[8]))) {
      String message =
          assertThrows(IllegalArgumentException.class, () -> file.tensor("b")).getMessage();
      assertTrue(message.startsWith("b: expected") && message.contains(file.where()), message);
    }
  }

  private static void assertRefused(Path path, String message) {
    String found =
        assertThrows(SafetensorsException.class, () -> SafetensorsFile.open(path)).getMessage();
    assertTrue(found.startsWith(path.toString()) && found.contains(message), found);
  }

  private Path file(String header, byte[] data) throws IOException {
    byte[] json = header.getBytes(StandardCharsets.UTF_8);
    return raw(json.length, json, data);
  }

  private Path raw(long headerLength, byte[] header, byte[] data) throws IOException {
    ByteArrayOutputStream bytes = new ByteArrayOutputStream();
    bytes.write(length(headerLength));
    bytes.write(header);
    bytes.write(data);
    return Files.write(folder.resolve("test.safetensors"), bytes.toByteArray());
  }

  private static byte[] length(long value) {
    return ByteBuffer.allocate(8).order(ByteOrder.LITTLE_ENDIAN).putLong(value).array();
  }
}
