package io.nit.tests.bench;

import io.nit.core.bundle.DcAeFolder;
import io.nit.core.codec.PixelBudget;
import io.nit.core.codec.Tiling;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.trainer.autoencoder.DcAeCodec;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.model.Devices;
import java.awt.Color;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.List;
import java.util.Map;
import java.util.stream.Stream;
import javax.imageio.ImageIO;
import org.bytedeco.pytorch.Device;

/**
 * What decoding in tiles changes: a mosaic of pictures is encoded, and decoded whole and in tiles
 * of several sizes. Leaves {@code mosaic.png}, {@code whole.png}, {@code
 * tiled-TILE-STRIDE-MARGIN.png} and {@code difference-TILE-STRIDE-MARGIN.png}, the difference 16
 * times as strong around grey.
 *
 * <p>Arguments: autoencoder's folder, pictures' folder, output folder, WIDTHxHEIGHT of the mosaic
 * (2048x1536), side of a picture in it (512), tiles as TILE:STRIDE:MARGIN (the standard ones and
 * the same without a margin, 1024:896:64,1024:896:0).
 */
public final class TilingDifference {
  private static final double TIMES = 16;

  private TilingDifference() {}

  /** Runs and prints a row for each tile size. */
  public static void main(String[] args) throws IOException {
    Path output = Files.createDirectories(Path.of(args[2]));
    String[] sides = (args.length > 3 ? args[3] : "2048x1536").split("x");
    int width = Integer.parseInt(sides[0]);
    int height = Integer.parseInt(sides[1]);
    int cell = Integer.parseInt(args.length > 4 ? args[4] : "512");
    String tiles = args.length > 5 ? args[5] : "1024:896:64,1024:896:0";
    RgbImage mosaic = mosaic(Path.of(args[1]), width, height, cell);
    Png.write(output.resolve("mosaic.png"), mosaic, Map.of());
    DcAeFolder folder = DcAeFolder.open(Path.of(args[0]));
    int w = width / folder.config().factor();
    int h = height / folder.config().factor();
    int most = Math.max(width, height);
    float[] latent;
    float[] whole;
    try (DcAeCodec codec = codec(folder, new Tiling(most, most, Long.MAX_VALUE))) {
      latent = codec.encode(mosaic.toPlanes(), height, width);
      whole = codec.decode(latent, h, w);
    }
    Png.write(output.resolve("whole.png"), RgbImage.ofPlanes(whole, height, width), Map.of());
    for (String size : tiles.split(",")) {
      int[] numbers = Stream.of(size.split(":")).mapToInt(Integer::parseInt).toArray();
      Tiling tiling = new Tiling(numbers[0], numbers[1], numbers[2], 1);
      try (DcAeCodec codec = codec(folder, tiling)) {
        float[] tiled = codec.decode(latent, h, w);
        System.out.printf(
            "tile %d, stride %d, margin %d: %s%n",
            tiling.tile(),
            tiling.stride(),
            tiling.margin(),
            Seams.of(whole, tiled, height, width, tiling));
        String name = size.replace(':', '-') + ".png";
        Png.write(
            output.resolve("tiled-" + name), RgbImage.ofPlanes(tiled, height, width), Map.of());
        Png.write(
            output.resolve("difference-" + name),
            Seams.picture(whole, tiled, height, width, TIMES),
            Map.of());
      }
    }
  }

  private static DcAeCodec codec(DcAeFolder folder, Tiling tiling) throws IOException {
    Device device = Devices.choose("auto");
    DcAeCodec.Limits limits = new DcAeCodec.Limits(tiling, new PixelBudget(Long.MAX_VALUE));
    return DcAeCodec.open(folder, device, Precision.F32, limits);
  }

  /** Pictures side by side on white, each enlarged or shrunk into its cell. */
  static RgbImage mosaic(Path pictures, int width, int height, int cell) throws IOException {
    List<Path> files;
    try (Stream<Path> found = Files.walk(pictures)) {
      files = found.filter(file -> file.toString().endsWith(".png")).sorted().toList();
    }
    BufferedImage canvas = new BufferedImage(width, height, BufferedImage.TYPE_3BYTE_BGR);
    Graphics2D g = canvas.createGraphics();
    g.setColor(Color.WHITE);
    g.fillRect(0, 0, width, height);
    g.setRenderingHint(
        RenderingHints.KEY_INTERPOLATION, RenderingHints.VALUE_INTERPOLATION_BICUBIC);
    int across = (width + cell - 1) / cell;
    int all = across * ((height + cell - 1) / cell);
    for (int i = 0; i < all; i++) {
      // a stride through the list, so that classes mix
      Path file = files.get((int) ((long) i * files.size() / all));
      BufferedImage image = ImageIO.read(file.toFile());
      double scale = Math.min((double) cell / image.getWidth(), (double) cell / image.getHeight());
      int w = (int) (image.getWidth() * scale);
      int h = (int) (image.getHeight() * scale);
      g.drawImage(image, i % across * cell, i / across * cell, w, h, null);
    }
    g.dispose();
    return RgbImage.of(canvas);
  }
}
