package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class PictureSetTest {
  @TempDir Path temp;

  private static PictureSet open(Path folder, int least, long maxPixels, long budget)
      throws IOException {
    return PictureSet.open(folder, new PictureSet.Options(least, maxPixels, budget, 2, true));
  }

  private static List<String> names(PictureSet set) {
    return IntStream.range(0, set.size()).mapToObj(set::name).toList();
  }

  @Test
  void picturesAreFoundAtAnyDepthWithoutHiddenOnesAndLinksThatLeadOut() throws IOException {
    Path folder = temp.resolve("data");
    for (String name : List.of("loose.png", "a/1.png", "a/b/2.png", ".hidden/3.png", ".4.png")) {
      Pictures.png(folder.resolve(name), 8, 8, 1);
    }
    Path outside = Pictures.png(temp.resolve("outside/5.png"), 8, 8, 1);
    Files.createSymbolicLink(folder.resolve("out.png"), outside);
    Files.createSymbolicLink(folder.resolve("folder"), outside.getParent());
    Files.createSymbolicLink(folder.resolve("in.png"), folder.resolve("loose.png"));
    PictureSet set = open(folder, 8, 1000, 1 << 20);
    assertEquals(List.of("a/1.png", "a/b/2.png", "in.png", "loose.png"), names(set));
    assertEquals(
        List.of("folder", "out.png"), set.skipped().stream().map(Skipped::imageFile).toList());
  }

  @Test
  void emptyTruncatedAndTooLargePicturesAreSkippedAndListed() throws IOException {
    Path good = Pictures.png(temp.resolve("good.png"), 30, 30, 1);
    Files.createFile(temp.resolve("empty.png"));
    byte[] half = Arrays.copyOf(Files.readAllBytes(good), (int) Files.size(good) / 2);
    Files.write(temp.resolve("half.png"), half);
    Pictures.png(temp.resolve("large.png"), 40, 40, 1);
    Pictures.png(temp.resolve("thin.png"), 1, 900, 1);
    PictureSet set = open(temp, 300, 1000, 1 << 20);
    assertEquals(List.of("good.png"), names(set));
    List<String> skipped = set.skipped().stream().map(Skipped::imageFile).toList();
    assertEquals(List.of("empty.png", "half.png", "large.png", "thin.png"), skipped);
    assertTrue(set.skipped().get(2).reason().contains("at most 1000 pixels"));
    assertTrue(set.skipped().get(3).reason().contains("too elongated"));
  }

  @Test
  void smallPicturesAreEnlargedByTheirShortSide() throws IOException {
    Pictures.png(temp.resolve("a.png"), 10, 20, 1);
    Pictures.png(temp.resolve("b.png"), 33, 17, 1);
    PictureSet set = open(temp, 16, 1000, 1 << 20);
    assertEquals(16, set.picture(0).width());
    assertEquals(32, set.picture(0).height());
    assertEquals(33, set.picture(1).width());
  }

  @Test
  void aPictureBeyondTheMemoryBudgetIsTheSameReadAgain() throws IOException {
    Pictures.folder(temp, 6);
    PictureSet kept = open(temp, 16, 1000, 1 << 20);
    PictureSet read = open(temp, 16, 1000, 0);
    for (int i = 0; i < 6; i++) {
      assertArrayEquals(kept.picture(i).rgb(), read.picture(i).rgb());
    }
    Pictures.png(temp.resolve(read.name(2)), 50, 20, 1);
    IOException changed = assertThrows(IOException.class, () -> read.picture(2));
    assertTrue(changed.getMessage().endsWith("changed since training started"));
    kept.picture(2);
  }

  @Test
  void aFolderWithoutPicturesIsRefused() throws IOException {
    Files.createDirectory(temp.resolve("sub"));
    IllegalArgumentException refused =
        assertThrows(IllegalArgumentException.class, () -> open(temp, 16, 1000, 0));
    assertTrue(refused.getMessage().contains("expected a folder with pictures in it"));
  }
}
