package io.nit.trainer.data;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.codec.Tokens;
import io.nit.core.flow.Philox;
import io.nit.core.image.RgbImage;
import io.nit.core.packing.PackLayout;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import javax.imageio.ImageIO;
import org.bytedeco.pytorch.global.torch;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.api.io.TempDir;

class ImageFolderDataTest {
  private static final DataOptions OPTIONS =
      DataOptions.defaults().withCodecFactor(2).withPacks(64, 0).withWorkers(2).withQuiet(true);

  @TempDir Path folder;

  /** The first stream of a seed whose choice for image 0 is the wanted one. */
  private static Philox choosing(boolean mirrored) {
    for (long stream = 0; ; stream++) {
      Philox choice = new Philox(1, stream);
      if (choice.uniform(0) < 0.5 == mirrored) {
        return choice;
      }
    }
  }

  @Test
  void everyImageIsInExactlyOnePackAndNoPackIsOverItsMaximum() throws IOException {
    Pictures.folder(folder, 50);
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS)) {
      Set<Integer> seen = new HashSet<>();
      for (int p = 0; p < data.packs(); p++) {
        TrainingPack pack = data.load(p, new Philox(0, p));
        assertTrue(pack.layout().tokens() <= 64);
        assertEquals(pack.layout().tokens() * 12, pack.latents().length);
        for (int row : pack.rows()) {
          assertTrue(seen.add(row), "row " + row + " twice");
        }
      }
      assertEquals(50, seen.size());
      assertEquals(50, data.images());
      assertEquals(List.of("ant", "bee", "cat"), data.labels());
      assertEquals(3, data.classes());
      assertEquals(new SpaceToDepthCodec(2), data.codec().orElseThrow());
    }
  }

  @Test
  void labelsAreTheSortedFoldersAndLatentsThePictureItself() throws IOException {
    Pictures.png(folder.resolve("zebra/a.png"), 6, 4, 1);
    Pictures.png(folder.resolve("ape/nested/b.png"), 8, 4, 2);
    Files.writeString(folder.resolve("NOTICE.txt"), "not a picture");
    Files.createDirectories(folder.resolve("empty"));
    Files.createDirectories(folder.resolve(".hidden"));
    Pictures.png(folder.resolve(".hidden/c.png"), 8, 8, 3);
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS.withPacks(64, 1))) {
      assertEquals(List.of("ape", "zebra"), data.labels());
      assertEquals(2, data.packs());
      for (int p = 0; p < 2; p++) {
        for (boolean mirrored : new boolean[] {false, true}) {
          TrainingPack pack = data.load(p, choosing(mirrored));
          boolean zebra = pack.labels()[0] == 1;
          assertEquals(PackLayout.of(new int[] {2}, new int[] {zebra ? 3 : 4}), pack.layout());
          RgbImage image =
              ImageFile.read(
                      folder.resolve(zebra ? "zebra/a.png" : "ape/nested/b.png"), 1000, false)
                  .image();
          RgbImage expected = mirrored ? Resize.mirror(image) : image;
          float[] latent =
              new SpaceToDepthCodec(2)
                  .encode(expected.toPlanes(), expected.height(), expected.width());
          assertArrayEquals(
              Tokens.patchify(latent, 12, 2, zebra ? 3 : 4, 1), pack.latents(), "pack " + p);
        }
      }
    }
  }

  @Test
  void readingAgainGivesTheSameNumbersAsKeeping() throws IOException {
    Pictures.folder(folder, 20);
    try (TrainingData kept = TrainingDataSets.open(folder, OPTIONS);
        TrainingData reread = TrainingDataSets.open(folder, OPTIONS.withMemoryBudget(0))) {
      for (int p = 0; p < kept.packs(); p++) {
        TrainingPack a = kept.load(p, new Philox(4, p));
        TrainingPack b = reread.load(p, new Philox(4, p));
        assertArrayEquals(a.latents(), b.latents());
        assertArrayEquals(a.labels(), b.labels());
        assertArrayEquals(a.rows(), b.rows());
      }
    }
  }

  @Test
  void patchesOfSeveralLatentPixelsDivideTheSides() throws IOException {
    Pictures.png(folder.resolve("a/1.png"), 13, 9, 1);
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS.withPatchSize(2))) {
      TrainingPack pack = data.load(0, choosing(false));
      assertEquals(PackLayout.of(new int[] {2}, new int[] {3}), pack.layout());
      assertEquals(6 * 12 * 2 * 2, pack.latents().length);
    }
  }

  @Test
  void picturesOverTheTokenBudgetAreShrunkToIt() throws IOException {
    Pictures.png(folder.resolve("a/large.png"), 100, 50, 1);
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS)) {
      // 64 tokens are 8x8, 16 pixels a side: w = sqrt(2)*16 = 22.6, h = 11.3
      PackLayout layout = data.load(0, choosing(false)).layout();
      assertEquals(PackLayout.of(new int[] {5}, new int[] {11}), layout);
    }
  }

  @Test
  void unreadablePicturesAreSkippedAndListed() throws IOException {
    Pictures.folder(folder, 6);
    Files.writeString(folder.resolve("ant/broken.png"), "Linked Image Not Found");
    Files.createFile(folder.resolve("bee/empty.jpg"));
    Pictures.png(folder.resolve("cat/thread.png"), 1000, 1, 1); // 500 tokens, no square to cap
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS)) {
      assertEquals(6, data.images());
      assertEquals(
          List.of("ant/broken.png", "bee/empty.jpg", "cat/thread.png"),
          data.skipped().stream().map(Skipped::imageFile).toList());
      Path list = folder.resolve("skipped.jsonl");
      Skipped.write(list, data.skipped());
      assertEquals(3, Files.readAllLines(list).size());
      assertTrue(Files.readString(list).contains("\"image_file\":\"bee/empty.jpg\""));
      Skipped.write(list, List.of());
      assertFalse(Files.exists(list));
    }
  }

  @Test
  void linksThatLeaveTheFolderAreRefused() throws IOException {
    Path outside = Pictures.png(folder.resolve("outside/secret.png"), 8, 8, 1);
    Path data = Pictures.folder(folder.resolve("data"), 3);
    Files.createSymbolicLink(data.resolve("ant/link.png"), outside);
    Files.createSymbolicLink(data.resolve("ant/inside.png"), data.resolve("bee/1.png"));
    Files.createSymbolicLink(data.resolve("ant/loop"), data);
    Files.createSymbolicLink(data.resolve("dog"), outside.getParent());
    try (TrainingData opened = TrainingDataSets.open(data, OPTIONS)) {
      assertEquals(List.of("ant", "bee", "cat"), opened.labels());
      assertEquals(4, opened.images());
      assertEquals(
          List.of("ant/link.png", "ant/loop", "dog"),
          opened.skipped().stream().map(Skipped::imageFile).toList());
    }
  }

  @Test
  void aFolderWithoutClassesIsExplained() throws IOException {
    Pictures.png(folder.resolve("1.png"), 8, 8, 1);
    String message =
        assertThrows(IllegalArgumentException.class, () -> TrainingDataSets.open(folder, OPTIONS))
            .getMessage();
    assertTrue(
        message.contains(folder.toString())
            && message.contains("class folders")
            && message.contains("1 pictures outside"),
        message);
    assertThrows(
        IOException.class, () -> TrainingDataSets.open(folder.resolve("missing"), OPTIONS));
  }

  @Test
  void aFolderOfBrokenPicturesOnlyIsExplained() throws IOException {
    Files.createDirectories(folder.resolve("a"));
    Files.createFile(folder.resolve("a/1.png"));
    String message =
        assertThrows(IllegalArgumentException.class, () -> TrainingDataSets.open(folder, OPTIONS))
            .getMessage();
    assertTrue(message.contains("a/1.png") && message.contains("0 bytes"), message);
  }

  @Test
  void theSameChoiceGivesTheSamePack() throws IOException {
    Pictures.folder(folder, 12);
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS)) {
      float[] once = data.load(0, new Philox(9, 5)).latents();
      assertArrayEquals(once, data.load(0, new Philox(9, 5)).latents());
      boolean differs = false;
      for (int stream = 6; stream < 12; stream++) {
        differs |= !Arrays.equals(once, data.load(0, new Philox(9, stream)).latents());
      }
      assertTrue(differs, "other choices mirror other images");
    }
  }

  @Test
  void aLearnedCodecEncodesWithoutCudnnWhichIsAsItWasAfterwards() throws IOException {
    Pictures.png(folder.resolve("ape/a.png"), 16, 8, 1);
    Pictures.png(folder.resolve("ape/b.png"), 8, 8, 2);
    BatchCodec codec = new BatchCodec();
    try (TrainingData data = TrainingDataSets.open(folder, OPTIONS.withCodec(codec))) {
      assertEquals(2, data.images());
    }
    assertEquals(Set.of("8x8 without cuDNN", "16x8 without cuDNN"), codec.kernels);
    assertTrue(torch.globalContext().userEnabledCuDNN());
    BatchCodec broken =
        new BatchCodec()
            .before(
                () -> {
                  throw new IllegalStateException("an illegal memory access");
                });
    assertThrows(
        IllegalStateException.class,
        () -> TrainingDataSets.open(folder, OPTIONS.withCodec(broken)));
    assertTrue(torch.globalContext().userEnabledCuDNN(), "after a failure");
  }

  @Test
  void aPictureThatOwnKernelsNeedTooMuchMemoryForIsLeftToCudnnAndNoOtherIs() throws IOException {
    for (int i = 0; i < 24; i++) {
      Pictures.png(folder.resolve("ape/" + i + ".png"), i % 3 == 0 ? 16 : 8, 8, i);
    }
    // Room for 8x8 plain and mirrored, and for no 16x8 with its mirrored one or alone.
    BatchCodec codec = new BatchCodec().cudnnAbove(16 * 8 - 1);
    Set<String> latents = new HashSet<>();
    for (int workers : new int[] {1, 4}) {
      DataOptions options = OPTIONS.withWorkers(workers).withCodec(codec);
      try (TrainingData data = TrainingDataSets.open(folder, options)) {
        assertEquals(24, data.images());
        latents.add(Arrays.toString(data.load(0, new Philox(1, 0)).latents()));
      }
    }
    assertEquals(
        Set.of("8x8 without cuDNN", "16x8 without cuDNN", "16x8 with cuDNN"), codec.kernels);
    assertEquals(1, latents.size(), "the same in any order of pictures");
    assertTrue(torch.globalContext().userEnabledCuDNN());
  }

  @Test
  void aPictureThatFitsByNoKernelsEndsTheOpeningWithItsName() throws IOException {
    Path file = Pictures.png(folder.resolve("ape/a.png"), 16, 8, 1);
    IOException e =
        assertThrows(
            IOException.class,
            () -> TrainingDataSets.open(folder, OPTIONS.withCodec(new BatchCodec('a', 0))).close());
    assertEquals(
        file
            + ": a picture of 16x8 does not fit into the device's memory; --max-side makes smaller"
            + " ones",
        e.getMessage());
    assertTrue(torch.globalContext().userEnabledCuDNN());
  }

  @Test
  void aPictureWhoseLatentIsNotFiniteIsSkipped() throws IOException {
    Pictures.png(folder.resolve("ape/a.png"), 8, 8, 1);
    BufferedImage red = new BufferedImage(16, 16, BufferedImage.TYPE_INT_RGB);
    for (int i = 0; i < 256; i++) {
      red.setRGB(i % 16, i / 16, 0xff0000);
    }
    ImageIO.write(red, "png", folder.resolve("ape/red.png").toFile());
    for (BatchCodec codec : List.of(new BatchCodec(), new BatchCodec().refusing())) {
      try (TrainingData data = TrainingDataSets.open(folder, OPTIONS.withCodec(codec))) {
        assertEquals(1, data.images());
        assertEquals(
            folder.resolve("ape/red.png") + ": the latent holds NaN or infinity",
            data.skipped().get(0).reason());
      }
    }
  }
}
