package io.nit.core.trt;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.NoSuchFileException;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PlanFileTest {
  @TempDir Path folder;

  @Test
  void plansStandOneBehindTheOtherAndOneAloneIsThePlanItself() throws IOException {
    Path one = Files.write(folder.resolve("one"), new byte[] {1, 2, 3});
    Path two = Files.write(folder.resolve("two"), new byte[] {4, 5, 6, 7, 8});
    PlanFile joined = PlanFile.join(List.of(one, two), folder.resolve("both.plan"));
    assertEquals(List.of(new PlanFile.Part(0, 3), new PlanFile.Part(3, 5)), joined.parts());
    byte[] bytes = Files.readAllBytes(joined.file());
    assertArrayEquals(new byte[] {1, 2, 3, 4, 5, 6, 7, 8}, Arrays.copyOf(bytes, 8));
    assertEquals(8 + 2 * 8 + 8, bytes.length);

    PlanFile alone = PlanFile.join(List.of(two), folder.resolve("alone.plan"));
    assertArrayEquals(Files.readAllBytes(two), Files.readAllBytes(alone.file()));
    assertEquals(List.of(new PlanFile.Part(0, 5)), alone.parts());
    assertEquals(
        List.of(new PlanFile.Part(0, 3)), PlanFile.read(one).parts(), "shorter than a trailer");
  }

  @Test
  void trailersThatDoNotFitTheirFileAreRefused() throws IOException {
    for (long[] lengths :
        new long[][] {
          {10, 7}, // more than there is
          {10, 5}, // less
          {-1, 17},
          {0, 16},
          {Long.MAX_VALUE, Long.MAX_VALUE}
        }) {
      Path file = folder.resolve("bad.plan");
      ByteBuffer bytes = ByteBuffer.allocate(16 + 24).order(ByteOrder.LITTLE_ENDIAN).position(16);
      bytes.putLong(lengths[0]).putLong(lengths[1]).putInt(2).put(magic());
      Files.write(file, bytes.array());
      String message = assertThrows(IOException.class, () -> PlanFile.read(file)).getMessage();
      assertTrue(message.contains("bad.plan") && message.contains("expected"), message);
    }
    for (int count : new int[] {0, -1, 4, Integer.MAX_VALUE}) {
      ByteBuffer bytes = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).position(16);
      bytes.putInt(count).put(magic());
      Path file = Files.write(folder.resolve("count.plan"), bytes.array());
      String message = assertThrows(IOException.class, () -> PlanFile.read(file)).getMessage();
      assertTrue(message.contains("found " + count), message);
    }
    assertThrows(NoSuchFileException.class, () -> PlanFile.read(folder.resolve("none.plan")));
  }

  private static byte[] magic() {
    return "NiTP".getBytes(StandardCharsets.US_ASCII);
  }
}
