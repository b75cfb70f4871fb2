package io.nit.trainer.data;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Every picture below a folder, in class folders or not, for a training that needs pictures alone.
 * Opening decodes each once: one that cannot be read is skipped and listed. The pixels are kept up
 * to a budget of memory; pictures beyond it are read again whenever they are asked for. Safe for
 * several threads.
 */
public final class PictureSet {
  private static final Logger LOG = LoggerFactory.getLogger(PictureSet.class);

  /**
   * How a set is read.
   *
   * @param leastSide pictures are enlarged until no side is shorter, in pixels
   * @param maxPixels pictures of more pixels are refused unread
   * @param memoryBudget bytes of pixels to keep
   * @param workers threads that decode pictures when the set is opened
   * @param quiet whether to show no progress
   */
  public record Options(
      int leastSide, long maxPixels, long memoryBudget, int workers, boolean quiet) {
    /** Checks every value. */
    public Options {
      if (leastSide < 1 || maxPixels < 1 || memoryBudget < 0 || workers < 1) {
        throw new IllegalArgumentException(
            "pictures: expected a side, pixels and workers of 1 or more and a budget of 0 or more,"
                + " found "
                + leastSide
                + ", "
                + maxPixels
                + ", "
                + workers
                + " and "
                + memoryBudget);
      }
    }
  }

  /**
   * A usable picture.
   *
   * @param width after enlarging, in pixels
   * @param height after enlarging, in pixels
   * @param kept null where it is read again
   */
  private record One(ImageFolder.Entry entry, int width, int height, RgbImage kept) {}

  private final ImageFolder folder;
  private final Options options;
  private final List<One> pictures = new ArrayList<>();
  private final List<Skipped> skipped;

  private PictureSet(ImageFolder folder, Options options) throws IOException {
    this.folder = folder;
    this.options = options;
    int count = folder.entries().size();
    One[] read = new One[count];
    Skipped[] problems = new Skipped[count];
    AtomicLong kept = new AtomicLong();
    try (Progress progress = Progress.start("pictures", count, 0, " images", options.quiet)) {
      ParallelFor.run(
          count,
          options.workers,
          StopSignal.none(),
          progress,
          i -> {
            ImageFolder.Entry entry = folder.entries().get(i);
            try {
              read[i] = keep(entry, read(entry), kept);
            } catch (IOException e) {
              problems[i] = new Skipped(entry.imageFile(), e.getMessage());
            }
          });
    }
    List<Skipped> unread = new ArrayList<>();
    for (int i = 0; i < count; i++) {
      if (read[i] == null) {
        unread.add(problems[i]);
      } else {
        pictures.add(read[i]);
      }
    }
    skipped = folder.withRefused(unread);
    if (!skipped.isEmpty()) {
      LOG.warn(
          "{}: {} of {} pictures skipped, the first: {}",
          folder.root(),
          skipped.size(),
          count + folder.refused().size(),
          skipped.get(0).reason());
    }
    if (pictures.isEmpty()) {
      throw new IllegalArgumentException(
          folder.root()
              + ": expected a usable picture, found none; the first: "
              + skipped.get(0).reason());
    }
    LOG.info("{}: {} pictures, {} MB kept", folder.root(), pictures.size(), kept.get() >> 20);
  }

  /**
   * Opens a folder.
   *
   * @throws IllegalArgumentException if there is no usable picture in it
   * @throws IOException if the folder does not exist or cannot be read
   */
  public static PictureSet open(Path root, Options options) throws IOException {
    return new PictureSet(ImageFolder.scanAll(root), options);
  }

  private One keep(ImageFolder.Entry entry, RgbImage image, AtomicLong kept) {
    long bytes = image.rgb().length;
    boolean room = kept.addAndGet(bytes) <= options.memoryBudget;
    if (!room) {
      kept.addAndGet(-bytes);
    }
    return new One(entry, image.width(), image.height(), room ? image : null);
  }

  private RgbImage read(ImageFolder.Entry entry) throws IOException {
    Path file = folder.file(entry);
    RgbImage image = ImageFile.read(file, options.maxPixels, false).image();
    try {
      return Resize.cover(image, options.leastSide);
    } catch (IllegalArgumentException e) {
      throw new IOException(file + ": " + e.getMessage(), e);
    }
  }

  /** Number of pictures, 1 or more. */
  public int size() {
    return pictures.size();
  }

  /** A picture's path inside the folder, with {@code /}. */
  public String name(int index) {
    return pictures.get(index).entry.imageFile();
  }

  /**
   * A picture, no side shorter than asked for.
   *
   * @throws IOException if it is read again and cannot be, or is another one by now; names the file
   */
  public RgbImage picture(int index) throws IOException {
    One one = pictures.get(index);
    if (one.kept != null) {
      return one.kept;
    }
    RgbImage again = read(one.entry);
    if (again.width() != one.width || again.height() != one.height) {
      throw new IOException(folder.file(one.entry) + ": changed since training started");
    }
    return again;
  }

  /** Pictures that were left out, and why, sorted by path. */
  public List<Skipped> skipped() {
    return skipped;
  }
}
