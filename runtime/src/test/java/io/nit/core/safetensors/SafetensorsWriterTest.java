package io.nit.core.safetensors;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.tensor.DType;
import io.nit.core.tensor.HostTensor;
import io.nit.core.tensor.Shape;
import io.nit.core.tensor.TensorSpec;
import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.stream.Stream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.EnumSource;

class SafetensorsWriterTest {
  @TempDir Path folder;

  @ParameterizedTest
  @EnumSource(DType.class)
  void everyTypeRoundTripsByteForByte(DType type) throws IOException {
    byte[] bytes = new byte[6 * type.bytes()];
    for (int i = 0; i < bytes.length; i++) {
      bytes[i] = (byte) (37 * i + 11);
    }
    Path path = folder.resolve("types.safetensors");
    new SafetensorsWriter()
        .add(
            new HostTensor(
                new TensorSpec("odd", DType.U8, Shape.of(3)), ByteBuffer.wrap(new byte[3])))
        .add(new HostTensor(new TensorSpec("values", type, Shape.of(2, 3)), ByteBuffer.wrap(bytes)))
        .write(path);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      HostTensor values = file.tensor("values");
      byte[] found = new byte[bytes.length];
      values.bytes().get(found);
      assertArrayEquals(bytes, found);
      assertEquals(type, values.dtype());
      assertEquals(Shape.of(2, 3), values.shape());
    }
  }

  @Test
  void valuesMetadataScalarsAndEmptyTensorsRoundTrip() throws IOException {
    Path path = folder.resolve("values.safetensors");
    new SafetensorsWriter()
        .metadata("config", "{\"depth\": 2}\n\"quoted\" é 猫")
        .add(HostTensor.of("floats", new float[] {1, Float.NaN, -0f, Float.MIN_VALUE}, 2, 2))
        .add(HostTensor.of("doubles", new double[] {Math.PI}, 1))
        .add(HostTensor.of("longs", new long[] {Long.MIN_VALUE, 1}, 2))
        .add(HostTensor.of("scalar", new int[] {42}))
        .add(HostTensor.of("empty", new float[0], 0, 4))
        .write(path);
    try (SafetensorsFile file = SafetensorsFile.open(path)) {
      assertEquals("{\"depth\": 2}\n\"quoted\" é 猫", file.metadata().get("config"));
      assertArrayEquals(
          new float[] {1, Float.NaN, -0f, Float.MIN_VALUE}, file.tensor("floats").toFloats());
      assertArrayEquals(new double[] {Math.PI}, file.tensor("doubles").toDoubles());
      assertArrayEquals(new long[] {Long.MIN_VALUE, 1}, file.tensor("longs").toLongs());
      assertArrayEquals(new long[] {42}, file.tensor("scalar").toLongs());
      assertEquals(0, file.tensor("scalar").shape().rank());
      assertEquals(Shape.of(0, 4), file.tensor("empty").shape());
    }
  }

  @Test
  void theSameTensorsGiveTheSameBytes() throws IOException {
    Path first = folder.resolve("first.safetensors");
    Path second = folder.resolve("second.safetensors");
    for (Path path : List.of(first, second)) {
      new SafetensorsWriter()
          .metadata("b", "1")
          .metadata("a", "2")
          .add(HostTensor.of("z", new float[] {1, 2}, 2))
          .add(HostTensor.of("y", new long[] {3}, 1))
          .write(path);
    }
    assertEquals(-1, Files.mismatch(first, second));
  }

  @Test
  void valuesStartAtAMultipleOfEight() throws IOException {
    for (int n = 1; n <= 8; n++) {
      Path path = folder.resolve("aligned.safetensors");
      new SafetensorsWriter().add(HostTensor.of("x".repeat(n), new double[] {1}, 1)).write(path);
      assertEquals(0, (Files.size(path) - 8) % 8);
    }
  }

  @Test
  void aSourceThatFailsLeavesTheOldFileAndNothingElse() throws IOException {
    Path path = folder.resolve("kept.safetensors");
    new SafetensorsWriter().add(HostTensor.of("a", new float[] {1}, 1)).write(path);
    byte[] before = Files.readAllBytes(path);
    TensorSpec big = new TensorSpec("b", DType.F32, Shape.of(1));
    SafetensorsWriter failing =
        new SafetensorsWriter()
            .add(HostTensor.of("a", new float[] {2}, 1))
            .add(
                big,
                () -> {
                  throw new IOException("No space left on device");
                });
    String message = assertThrows(IOException.class, () -> failing.write(path)).getMessage();
    assertTrue(message.contains("kept.safetensors") && message.contains("No space"), message);
    assertThrows(
        IllegalStateException.class,
        () -> new SafetensorsWriter().add(big, () -> ByteBuffer.allocate(3)).write(path));
    assertArrayEquals(before, Files.readAllBytes(path));
    try (Stream<Path> files = Files.list(folder)) {
      assertEquals(List.of(path), files.toList());
    }
  }

  @Test
  void namesUsedTwiceOrReservedAreRefused() {
    SafetensorsWriter writer = new SafetensorsWriter().add(HostTensor.of("a", new int[1], 1));
    assertThrows(
        IllegalArgumentException.class, () -> writer.add(HostTensor.of("a", new int[1], 1)));
    assertThrows(
        IllegalArgumentException.class,
        () -> writer.add(HostTensor.of("__metadata__", new int[1], 1)));
  }
}
