import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.nit.core.image.Png;
import io.nit.core.image.RgbImage;
import io.nit.trainer.data.ImageFile;
import java.awt.Graphics2D;
import java.awt.RenderingHints;
import java.awt.image.BufferedImage;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.LinkOption;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.Set;
import java.util.stream.Stream;

/**
 * Makes pictures to train on from unpacked packages; started by {@code
 * scripts/fetch-sample-data} with {@code EMOJI OPENCLIPART OUTPUT}.
 *
 * <p>{@code OUTPUT/emoji/CLASS} holds every emoji cropped to what is visible, at four scales, on
 * white that fills its sides up to multiples of {@value #MULTIPLE} pixels. {@code
 * OUTPUT/autoencoder} holds Openclipart's pictures, cropped and shrunk.
 */
final class SampleData {
  /** Factor of the autoencoder. */
  private static final int MULTIPLE = 8;

  /** Sides that no training picture has, so that there are sizes to test generalisation with. */
  private static final Set<Integer> HELD_OUT_SIDES = Set.of(72);

  private static final double[] SCALES = {1, 0.75, 1.25, 1.5};

  /** Signs and letters, which mirroring turns into others, and groups of grey silhouettes. */
  private static final Set<String> LEFT_OUT =
      Set.of(
          "alphanum", "av-symbol", "currency", "family", "gender", "keycap", "math", "other-symbol",
          "person-symbol", "punctuation", "skin-tone", "transport-sign", "warning");

  private static final long MAX_PIXELS = 16_000_000;
  private static final int CLIPART_SIDE = 112;
  private static final int CLIPART_EVERY = 6;

  private SampleData() {}

  public static void main(String[] args) throws IOException {
    Path emoji = Path.of(args[0]);
    Path openclipart = Path.of(args[1]);
    Path output = Path.of(args[2]);
    int pictures = emoji(emoji, output.resolve("emoji"));
    int cliparts = openclipart(openclipart, output.resolve("autoencoder"));
    System.out.println(pictures + " pictures of emoji, " + cliparts + " of Openclipart: " + output);
  }

  private static int emoji(Path source, Path output) throws IOException {
    int written = 0;
    for (JsonNode entry : new ObjectMapper().readTree(source.resolve("emoji.json").toFile())) {
      String name = entry.get("subcategory").asText().replaceAll("[^a-z0-9]+", "-");
      if (LEFT_OUT.contains(name) || !entry.get("has_img_google").asBoolean()) {
        continue;
      }
      Path file = source.resolve("img/google/64").resolve(entry.get("image").asText());
      RgbImage picture = ImageFile.read(file, MAX_PIXELS, true).image();
      Path folder = Files.createDirectories(output.resolve(name));
      for (double scale : SCALES) {
        int width = (int) Math.max(1, Math.round(picture.width() * scale));
        int height = (int) Math.max(1, Math.round(picture.height() * scale));
        if (HELD_OUT_SIDES.contains(ceil(width)) || HELD_OUT_SIDES.contains(ceil(height))) {
          continue;
        }
        String id = entry.get("short_name").asText().replaceAll("[^A-Za-z0-9_-]", "_");
        RgbImage filled = filled(resized(picture, width, height));
        Png.write(folder.resolve(id + "-" + Math.round(100 * scale) + ".png"), filled, Map.of());
        written++;
      }
    }
    return written;
  }

  private static int openclipart(Path source, Path output) throws IOException {
    List<Path> files;
    try (Stream<Path> all = Files.walk(source)) {
      files =
          all.filter(f -> Files.isRegularFile(f, LinkOption.NOFOLLOW_LINKS))
              .filter(f -> f.toString().toLowerCase(Locale.ROOT).endsWith(".png"))
              .sorted()
              .toList();
    }
    Files.createDirectories(output);
    int written = 0;
    for (int i = 0; i < files.size(); i += CLIPART_EVERY) {
      RgbImage picture;
      try {
        picture = ImageFile.read(files.get(i), MAX_PIXELS, true).image();
      } catch (IOException e) {
        System.err.println("skipped: " + e.getMessage());
        continue;
      }
      double scale =
          Math.min(1, (double) CLIPART_SIDE / Math.max(picture.width(), picture.height()));
      int width = (int) Math.max(1, Math.round(picture.width() * scale));
      int height = (int) Math.max(1, Math.round(picture.height() * scale));
      Png.write(
          output.resolve(String.format("openclipart-%05d.png", i)),
          resized(picture, width, height),
          Map.of());
      written++;
    }
    return written;
  }

  private static int ceil(int side) {
    return (side + MULTIPLE - 1) / MULTIPLE * MULTIPLE;
  }

  /** The picture in the middle of white, both sides multiples. */
  private static RgbImage filled(RgbImage image) {
    int width = ceil(image.width());
    int height = ceil(image.height());
    byte[] rgb = new byte[3 * width * height];
    Arrays.fill(rgb, (byte) 0xff);
    int left = (width - image.width()) / 2;
    int top = (height - image.height()) / 2;
    for (int y = 0; y < image.height(); y++) {
      System.arraycopy(
          image.rgb(),
          3 * y * image.width(),
          rgb,
          3 * ((top + y) * width + left),
          3 * image.width());
    }
    return new RgbImage(width, height, rgb);
  }

  /** Bicubic; halved again and again first where it is shrunk by more than two. */
  private static RgbImage resized(RgbImage image, int width, int height) {
    BufferedImage from = image.toBufferedImage();
    while (from.getWidth() > 2 * width || from.getHeight() > 2 * height) {
      int halfWidth = Math.max(width, (from.getWidth() + 1) / 2);
      int halfHeight = Math.max(height, (from.getHeight() + 1) / 2);
      from = drawn(from, halfWidth, halfHeight, RenderingHints.VALUE_INTERPOLATION_BILINEAR);
    }
    if (from.getWidth() != width || from.getHeight() != height) {
      from = drawn(from, width, height, RenderingHints.VALUE_INTERPOLATION_BICUBIC);
    }
    return RgbImage.of(from);
  }

  private static BufferedImage drawn(BufferedImage from, int width, int height, Object how) {
    BufferedImage to = new BufferedImage(width, height, BufferedImage.TYPE_INT_RGB);
    Graphics2D graphics = to.createGraphics();
    graphics.setRenderingHint(RenderingHints.KEY_INTERPOLATION, how);
    graphics.drawImage(from, 0, 0, width, height, null);
    graphics.dispose();
    return to;
  }
}
