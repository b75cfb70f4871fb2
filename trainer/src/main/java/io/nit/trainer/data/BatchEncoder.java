package io.nit.trainer.data;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.LatentCodec;
import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.LinkedHashMap;
import java.util.List;
import java.util.Map;
import java.util.concurrent.CancellationException;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Encodes a share of the pictures with a learned codec, in batches of equal size. The calling
 * thread alone talks to the codec; meanwhile others decode the next chunk's pictures and write the
 * batches before.
 *
 * <p>A network's last bits depend on what it computes together with a picture. So that the files'
 * do not depend on who made them and when, batches follow from the data set and the settings alone:
 * the pictures are cut in chunks by their place in the set ({@link PrepareOptions#chunk}), those of
 * a chunk are grouped by type and size, and a group is cut in batches ({@link
 * PrepareOptions#batch}), each picture plain and mirrored. Processes share out whole chunks. A
 * batch of which a file is missing is encoded again as a whole; files that are there are kept. The
 * kernels that compute a batch follow from its type, but for what does not fit into a device's
 * memory ({@link FittingEncoder}).
 *
 * <p>At most two chunks' pictures are in memory, resized.
 */
final class BatchEncoder implements LatentMaker {
  private static final Logger LOG = LoggerFactory.getLogger(BatchEncoder.class);

  private final PictureSource source;
  private final PrepareOptions options;
  private final FittingEncoder encoder;
  private final PreparedPart part;
  private final int[] chunks; // first picture of each
  private final AtomicInteger written = new AtomicInteger();
  private final AtomicInteger found = new AtomicInteger();
  private final AtomicInteger done = new AtomicInteger();

  BatchEncoder(PictureSource source, PrepareOptions options, LatentCodec codec, PreparedPart part) {
    this.source = source;
    this.options = options;
    this.encoder = new FittingEncoder(codec, "a smaller --batch takes fewer");
    this.part = part;
    int all = (source.count() + options.chunk() - 1) / options.chunk();
    this.chunks =
        IntStream.range(0, all)
            .filter(i -> i % options.worldSize() == options.rank())
            .map(i -> i * options.chunk())
            .toArray();
  }

  private int end(int first) {
    return Math.min(source.count(), first + options.chunk());
  }

  @Override
  public int pictures() {
    return Arrays.stream(chunks).map(first -> end(first) - first).sum();
  }

  @Override
  public int written() {
    return written.get();
  }

  @Override
  public int found() {
    return found.get();
  }

  /** A picture of one type. Filled in by one thread after the other. */
  private final class Item {
    final Pictured of;
    final DataType type;
    DataMeta.Row row; // null while the file is missing
    Resize.Size size;
    RgbImage pixels; // null where they are not at hand
    Skipped problem;

    Item(Pictured of, DataType type) {
      this.of = of;
      this.type = type;
    }

    boolean missing() {
      return row == null;
    }
  }

  /** A picture of all types. */
  private final class Pictured {
    final int image;
    final List<Item> items = new ArrayList<>();
    final List<Skipped> unreadable = new ArrayList<>();
    final AtomicInteger open = new AtomicInteger();
    long bytes;
    Resize.Size original;

    Pictured(int image) {
      this.image = image;
    }

    void end(Progress progress) {
      List<DataMeta.Row> rows = new ArrayList<>();
      List<Skipped> skipped = new ArrayList<>(unreadable);
      for (Item item : items) {
        if (item.row != null) {
          rows.add(item.row);
        }
        if (item.problem != null) {
          skipped.add(item.problem);
        }
      }
      part.add(image, rows, skipped);
      done.incrementAndGet();
      progress.step(1);
    }
  }

  @Override
  public void run(StopSignal stop, Progress progress) throws IOException {
    ExecutorService decoders = Executors.newFixedThreadPool(options.workers());
    // One makes the codec's input of the next batch; writing mostly waits for the disk.
    ExecutorService helpers = Executors.newFixedThreadPool(1 + options.workers());
    try {
      List<Future<Pictured>> next = chunks.length == 0 ? List.of() : decode(decoders, chunks[0]);
      for (int c = 0; c < chunks.length && !stop.requested(); c++) {
        List<Pictured> chunk = new ArrayList<>();
        for (Future<Pictured> picture : next) {
          chunk.add(ParallelFor.await(picture));
        }
        next = c + 1 < chunks.length ? decode(decoders, chunks[c + 1]) : List.of();
        encode(chunk, helpers, stop, progress);
      }
    } finally {
      decoders.shutdownNow();
      helpers.shutdown();
    }
    if (done.get() < pictures()) {
      throw new CancellationException("stopped after " + done + " of " + pictures() + " images");
    }
  }

  private List<Future<Pictured>> decode(ExecutorService decoders, int first) {
    List<Future<Pictured>> chunk = new ArrayList<>();
    for (int i = first; i < end(first); i++) {
      int image = i;
      chunk.add(decoders.submit(() -> look(image)));
    }
    return chunk;
  }

  /** What there is of a picture, and the pixels of what there is not. */
  private Pictured look(int image) {
    Pictured pictured = new Pictured(image);
    Picture picture = null;
    for (DataType type : options.types()) {
      Item item = new Item(pictured, type);
      try {
        pictured.bytes = source.bytes(image);
        item.row = source.existing(image, type, pictured.bytes).orElse(null);
        if (item.row != null) {
          found.incrementAndGet();
          item.size = new Resize.Size(item.row.imageWidth(), item.row.imageHeight());
        } else {
          if (picture == null) {
            picture = source.read(image);
            pictured.original = new Resize.Size(picture.oriWidth(), picture.oriHeight());
          }
          item.pixels = source.resize(image, picture, type);
          item.size = Resize.Size.of(item.pixels);
        }
      } catch (IOException e) {
        pictured.unreadable.add(source.skipped(image, e));
        if (picture == null) {
          break;
        }
        continue;
      }
      pictured.items.add(item);
    }
    return pictured;
  }

  private void encode(
      List<Pictured> chunk, ExecutorService helpers, StopSignal stop, Progress progress)
      throws IOException {
    List<List<Item>> batches = new ArrayList<>();
    for (DataType type : options.types()) {
      batches.addAll(batches(chunk, type));
    }
    batches.removeIf(batch -> batch.stream().noneMatch(Item::missing));
    for (Pictured picture : chunk) {
      picture.open.set((int) picture.items.stream().filter(Item::missing).count());
      if (picture.open.get() == 0) {
        picture.end(progress);
      }
    }
    List<Future<?>> writes = new ArrayList<>();
    Future<List<float[]>> next = null;
    try {
      for (int b = 0; b < batches.size() && !stop.requested(); b++) {
        List<Item> batch = batches.get(b);
        List<float[]> planes = next == null ? planes(batch) : ParallelFor.await(next);
        if (b + 1 < batches.size()) {
          List<Item> after = batches.get(b + 1);
          next = helpers.submit(() -> planes(after));
        }
        Resize.Size size = batch.get(0).size;
        List<float[]> latents = encoder.encode(planes, batch.get(0).type, size, options.rows(size));
        for (int i = 0; i < batch.size(); i++) {
          Item item = batch.get(i);
          if (item.missing()) {
            float[] both = PictureLatents.both(latents.get(2 * i), latents.get(2 * i + 1));
            writes.add(
                helpers.submit(
                    () -> {
                      write(item, both, progress);
                      return null;
                    }));
          }
        }
      }
    } finally {
      // Also after a failure: no file is left half made.
      for (Future<?> write : writes) {
        ParallelFor.await(write);
      }
    }
  }

  /** The pictures of a type in batches of one size, in the order of the data set. */
  private List<List<Item>> batches(List<Pictured> chunk, DataType type) {
    Map<Resize.Size, List<Item>> bySize = new LinkedHashMap<>();
    for (Pictured picture : chunk) {
      for (Item item : picture.items) {
        if (item.type == type) {
          bySize.computeIfAbsent(item.size, size -> new ArrayList<>()).add(item);
        }
      }
    }
    List<List<Item>> batches = new ArrayList<>();
    bySize.forEach(
        (size, items) -> {
          int n = options.batch(size);
          for (int i = 0; i < items.size(); ) {
            int count = together(type, items.size() - i, n);
            batches.add(new ArrayList<>(items.subList(i, i + count)));
            i += count;
          }
        });
    return batches;
  }

  /**
   * Pictures of the next batch: as many as go. Of what is left of a type of one size, whose number
   * may be another in every chunk, it is a power of two: cuDNN, which computes that type on CUDA,
   * takes about a second to choose its kernels for a number that it has not seen; by this there are
   * few. Types of many sizes are computed by kernels that choose nothing, and a batch costs less
   * than its parts.
   */
  static int together(DataType type, int left, int most) {
    if (left >= most) {
      return most;
    }
    return type.oneSize() ? Integer.highestOneBit(left) : left;
  }

  /** A batch's pictures, plain and mirrored; those whose file is there already are read again. */
  private List<float[]> planes(List<Item> batch) {
    List<float[]> planes = new ArrayList<>();
    for (Item item : batch) {
      RgbImage pixels = item.pixels == null ? again(item) : item.pixels;
      planes.addAll(PictureLatents.planes(pixels));
      item.pixels = null;
    }
    return planes;
  }

  /** White where a picture cannot be read any more: its file stays, the others need its place. */
  private RgbImage again(Item item) {
    try {
      RgbImage pixels = source.resize(item.of.image, source.read(item.of.image), item.type);
      if (Resize.Size.of(pixels).equals(item.size)) {
        return pixels;
      }
      LOG.warn("{}: another picture than its latents are of", item.row.imageFile());
    } catch (IOException e) {
      LOG.warn("{}, though there are latents of it", e.getMessage());
    }
    byte[] white = new byte[3 * item.size.width() * item.size.height()];
    Arrays.fill(white, (byte) 0xff);
    return new RgbImage(item.size.width(), item.size.height(), white);
  }

  private void write(Item item, float[] latents, Progress progress) throws IOException {
    Pictured picture = item.of;
    try {
      item.row =
          source.write(
              picture.image, item.type, picture.bytes, picture.original, item.size, latents);
      written.incrementAndGet();
    } catch (PreparedImage.NotFiniteException e) {
      item.problem = source.skipped(picture.image, e);
    }
    if (picture.open.decrementAndGet() == 0) {
      picture.end(progress);
    }
  }
}
