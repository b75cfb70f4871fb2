package io.nit.trainer.reconstruction;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.image.RgbImage;
import io.nit.trainer.data.PictureSet;
import io.nit.trainer.data.Pictures;
import io.nit.trainer.data.Prefetcher;
import io.nit.trainer.data.Resize;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.stream.IntStream;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class RandomCropsTest {
  private static final int CROP = 16;
  private static final int BATCH = 3;

  @TempDir Path folder;
  private PictureSet set;

  @BeforeEach
  void open() throws IOException {
    for (int i = 0; i < 7; i++) {
      Pictures.png(folder.resolve(i + ".png"), CROP + 3 * i, CROP + 2 * (6 - i), i);
    }
    set = Tiny.set(folder, CROP);
  }

  private RandomCrops crops(long seed) {
    return new RandomCrops(set, IntStream.range(0, 7).toArray(), CROP, BATCH, seed);
  }

  @Test
  void everyCropIsAPartOfItsPictureOrOfItsMirrorImage() throws IOException {
    RandomCrops crops = crops(1);
    int mirrored = 0;
    Set<List<Integer>> places = new HashSet<>();
    for (long step = 0; step < 20; step++) {
      CropBatch batch = crops.load(step);
      for (int i = 0; i < BATCH; i++) {
        byte[] crop = Arrays.copyOfRange(batch.rgb(), i * 768, (i + 1) * 768);
        RgbImage picture = set.picture(batch.pictures()[i]);
        List<Integer> plain = find(picture, crop);
        if (plain == null) {
          mirrored++;
          RgbImage upright = Resize.mirror(new RgbImage(CROP, CROP, crop));
          plain = find(picture, upright.rgb());
        }
        assertTrue(plain != null, "step " + step + ", crop " + i + " is nowhere in its picture");
        places.add(plain);
      }
    }
    assertTrue(mirrored > 15 && mirrored < 45, mirrored + " of 60 mirrored");
    assertTrue(places.size() > 25, "places of 60 crops: " + places);
  }

  private static List<Integer> find(RgbImage picture, byte[] crop) {
    for (int y = 0; y + CROP <= picture.height(); y++) {
      for (int x = 0; x + CROP <= picture.width(); x++) {
        if (Arrays.equals(Resize.crop(picture, x, y, CROP, CROP).rgb(), crop)) {
          return List.of(x, y);
        }
      }
    }
    return null;
  }

  @Test
  void everyPictureComesOnceAnEpoch() throws IOException {
    RandomCrops crops = crops(2);
    List<Integer> pictures = new ArrayList<>();
    for (long step = 0; step < 7; step++) {
      Arrays.stream(crops.load(step).pictures()).forEach(pictures::add);
    }
    for (int epoch = 0; epoch < 3; epoch++) {
      assertEquals(7, new HashSet<>(pictures.subList(epoch * 7, epoch * 7 + 7)).size());
    }
  }

  @Test
  void aStepsBatchFollowsFromSeedAndStepWhateverThreadsReadIt() throws IOException {
    List<byte[]> expected = new ArrayList<>();
    for (long step = 0; step < 9; step++) {
      expected.add(crops(3).load(step).rgb());
    }
    try (Prefetcher<CropBatch> loader = new Prefetcher<>(crops(3), 4, 3, 4)) {
      for (int step = 4; step < 9; step++) {
        assertArrayEquals(expected.get(step), loader.next().rgb(), "step " + step);
      }
    }
    assertFalse(Arrays.equals(expected.get(0), crops(4).load(0).rgb()), "seeds 3 and 4");
  }

  @Test
  void heldOutPicturesAreFewStableAndNotTrainedOn() throws IOException {
    HoldOut split = HoldOut.of(set, 2);
    Set<String> heldOut = new HashSet<>();
    Arrays.stream(split.heldOut()).forEach(i -> heldOut.add(set.name(i)));
    assertEquals(2, heldOut.size());
    assertEquals(5, split.trained().length);
    Arrays.stream(split.trained()).forEach(i -> assertFalse(heldOut.contains(set.name(i))));
    Pictures.png(folder.resolve("0more.png"), CROP, CROP, 9);
    PictureSet larger = Tiny.set(folder, CROP);
    Set<String> then = new HashSet<>();
    Arrays.stream(HoldOut.of(larger, 2).heldOut()).forEach(i -> then.add(larger.name(i)));
    then.removeAll(heldOut);
    assertTrue(then.size() <= 1, "one more picture changed more than one: " + then);
    assertArrayEquals(
        new int[] {0, 1, 32, 32}, IntStream.of(19, 20, 640, 5000).map(HoldOut::usual).toArray());
    assertThrows(IllegalArgumentException.class, () -> HoldOut.of(set, 7));
  }
}
