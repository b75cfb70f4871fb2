package io.nit.trainer.data;

import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import javax.imageio.ImageIO;

/** Small pictures for tests. */
public final class Pictures {
  private Pictures() {}

  /** Writes a PNG whose pixels follow from its size and a number. */
  public static Path png(Path file, int width, int height, int number) throws IOException {
    BufferedImage image = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    for (int y = 0; y < height; y++) {
      for (int x = 0; x < width; x++) {
        image.setRGB(x, y, (number * 7919 + x * 1_000_003 + y * 65_599) & 0xffffff);
      }
    }
    Files.createDirectories(file.getParent());
    ImageIO.write(image, "png", file.toFile());
    return file;
  }

  /** A folder of {@code count} pictures of several sizes in the classes ant, bee and cat. */
  public static Path folder(Path folder, int count) throws IOException {
    String[] classes = {"ant", "bee", "cat"};
    for (int i = 0; i < count; i++) {
      png(folder.resolve(classes[i % 3]).resolve(i + ".png"), 8 + i % 5 * 4, 8 + i % 7 * 3, i);
    }
    return folder;
  }
}
