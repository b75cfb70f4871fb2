package io.nit.trainer.reconstruction;

import io.nit.core.flow.Philox;
import io.nit.core.image.RgbImage;
import io.nit.trainer.data.PackOrder;
import io.nit.trainer.data.PictureSet;
import io.nit.trainer.data.Prefetcher;
import io.nit.trainer.loop.Draws;
import java.io.IOException;

/**
 * The batches of a run: every picture once an epoch, in a new order each time, a random square of
 * it, mirrored at random. All of it follows from the seed and the step, whatever thread asks.
 */
final class RandomCrops implements Prefetcher.Source<CropBatch> {
  private final PictureSet set;
  private final int[] pictures;
  private final int crop;
  private final int batch;
  private final Draws draws;
  private final PackOrder order;

  /**
   * Batches of a set.
   *
   * @param pictures which of the set's to use
   * @param crop pixels of a side; no picture of the set is smaller
   * @param batch crops of a step
   */
  RandomCrops(PictureSet set, int[] pictures, int crop, int batch, long seed) {
    this.set = set;
    this.pictures = pictures;
    this.crop = crop;
    this.batch = batch;
    draws = new Draws(seed);
    order = new PackOrder(pictures.length, seed, 0, 1);
  }

  @Override
  public CropBatch load(long step) throws IOException {
    CropBatch made = new CropBatch(new byte[batch * 3 * crop * crop], new int[batch], crop);
    Philox random = draws.crops(step);
    for (int i = 0; i < batch; i++) {
      int picture = pictures[order.pack(step * batch + i)];
      RgbImage image = set.picture(picture);
      int x = random.below(3L * i, image.width() - crop + 1);
      int y = random.below(3L * i + 1, image.height() - crop + 1);
      boolean mirrored = random.uniform(3L * i + 2) < 0.5;
      made.pictures()[i] = picture;
      cut(image, x, y, crop, mirrored, made.rgb(), i * made.cropBytes());
    }
    return made;
  }

  /** The middle square of a picture, [crop, crop, 3], into {@code out} from {@code at}. */
  static void middle(RgbImage image, int crop, byte[] out, int at) {
    cut(image, (image.width() - crop) / 2, (image.height() - crop) / 2, crop, false, out, at);
  }

  private static void cut(
      RgbImage image, int x, int y, int crop, boolean mirrored, byte[] out, int at) {
    int line = 3 * crop;
    for (int row = 0; row < crop; row++) {
      int from = 3 * ((y + row) * image.width() + x);
      int to = at + row * line;
      if (!mirrored) {
        System.arraycopy(image.rgb(), from, out, to, line);
        continue;
      }
      for (int i = 0; i < line; i += 3) {
        System.arraycopy(image.rgb(), from + i, out, to + line - 3 - i, 3);
      }
    }
  }
}
