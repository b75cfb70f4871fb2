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
  void threePlansAreReadBackAndACutOrChangedFileOfThemIsNot() throws IOException {
    Path main = Files.write(folder.resolve("main"), new byte[40]);
    Path small = Files.write(folder.resolve("small"), new byte[30]);
    Path modulations = Files.write(folder.resolve("modulations"), new byte[20]);
    Path file = folder.resolve("three.plan");
    assertEquals(
        List.of(new PlanFile.Part(0, 40), new PlanFile.Part(40, 30), new PlanFile.Part(70, 20)),
        PlanFile.join(List.of(main, small, modulations), file).parts());
    byte[] whole = Files.readAllBytes(file);
    // Without its end it is no file of ours any more, and the manifest's size refuses it.
    Files.write(file, Arrays.copyOf(whole, whole.length - 1));
    assertEquals(1, PlanFile.read(file).parts().size());
    // Cut in the middle and closed with the old trailer.
    byte[] cut = new byte[whole.length - 10];
    System.arraycopy(whole, 0, cut, 0, 50);
    System.arraycopy(whole, 60, cut, 50, whole.length - 60);
    Files.write(file, cut);
    String message = assertThrows(IOException.class, () -> PlanFile.read(file)).getMessage();
    assertTrue(message.contains("three.plan: plan 2: expected 1 to 10 bytes, found 20"), message);
    // One plan fewer than there are.
    byte[] fewer = whole.clone();
    fewer[whole.length - 8] = 2;
    Files.write(file, fewer);
    message = assertThrows(IOException.class, () -> PlanFile.read(file)).getMessage();
    assertTrue(message.contains("three.plan: expected plans of 98 bytes, found 50"), message);
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
    for (int count : new int[] {0, -1, 17, Integer.MAX_VALUE}) {
      ByteBuffer bytes = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).position(16);
      bytes.putInt(count).put(magic());
      Path file = Files.write(folder.resolve("count.plan"), bytes.array());
      String message = assertThrows(IOException.class, () -> PlanFile.read(file)).getMessage();
      assertTrue(message.contains("expected 1 to 16 plans in it, found " + count), message);
    }
    ByteBuffer bytes = ByteBuffer.allocate(24).order(ByteOrder.LITTLE_ENDIAN).position(16);
    bytes.putInt(4).put(magic());
    Path shorter = Files.write(folder.resolve("short.plan"), bytes.array());
    assertEquals(
        shorter + ": expected 40 bytes or more, as 4 plans have, found 24",
        assertThrows(IOException.class, () -> PlanFile.read(shorter)).getMessage());
    assertThrows(NoSuchFileException.class, () -> PlanFile.read(folder.resolve("none.plan")));
  }

  private static byte[] magic() {
    return "NiTP".getBytes(StandardCharsets.US_ASCII);
  }
}
