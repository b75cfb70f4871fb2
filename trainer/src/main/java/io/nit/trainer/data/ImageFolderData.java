package io.nit.trainer.data;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.Decoded;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.flow.Philox;
import io.nit.core.image.RgbImage;
import io.nit.core.packing.Lpfhp;
import io.nit.core.packing.PackLayout;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicLong;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Trains from class folders of pictures as they are. Opening decodes every picture once: one that
 * cannot be read is skipped and listed. Latents are kept, plain and mirrored, up to a budget of
 * memory; pictures beyond it are read again for every pack. A learned codec, which is slow, encodes
 * every picture once and keeps all.
 */
final class ImageFolderData implements TrainingData {
  private static final Logger LOG = LoggerFactory.getLogger(ImageFolderData.class);

  private final ImageFolder folder;
  private final DataOptions options;
  private final int maxSide;
  private final LatentCodec codec;
  private final FittingEncoder learned; // over the codec
  private final List<Encoded> images;
  private final List<Skipped> skipped;
  private final List<int[]> packs;

  /**
   * A usable picture.
   *
   * @param size after resizing, in pixels
   * @param latents [2, C, H, W], plain and mirrored; null where it is read again
   */
  private record Encoded(ImageFolder.Entry entry, Resize.Size size, float[] latents) {}

  /**
   * Opens a folder.
   *
   * @throws IllegalArgumentException if there is no class folder, no usable picture, or a learned
   *     codec's latents exceed the budget
   */
  ImageFolderData(Path root, DataOptions options) throws IOException {
    this.options = options;
    this.folder = ImageFolder.scan(root);
    this.codec = options.codec().orElseGet(() -> new SpaceToDepthCodec(options.codecFactor()));
    this.learned = new FittingEncoder(codec, "");
    this.maxSide = Resize.maxSide(options.maxSide(), options.maxTokens(), options.multiple());
    int count = folder.entries().size();
    Encoded[] encoded = new Encoded[count];
    Skipped[] problems = new Skipped[count];
    AtomicLong kept = new AtomicLong();
    try (Progress progress = Progress.start("pictures", count, 0, " images", options.quiet())) {
      ParallelFor.run(
          count,
          options.workers(),
          StopSignal.none(),
          progress,
          i -> {
            ImageFolder.Entry entry = folder.entries().get(i);
            try {
              encoded[i] = encode(entry, kept);
            } catch (FittingEncoder.TooLargeException e) {
              // No fault of the picture: left out, it would make the set depend on the device.
              throw new IOException(folder.file(entry) + ": " + e.getMessage(), e);
            } catch (IOException e) {
              problems[i] = new Skipped(entry.imageFile(), e.getMessage());
            }
          });
    }
    this.images = present(encoded);
    this.skipped = folder.withRefused(present(problems));
    if (!skipped.isEmpty()) {
      LOG.warn(
          "{}: {} of {} pictures skipped, the first: {}",
          root,
          skipped.size(),
          count + folder.refused().size(),
          skipped.get(0).reason());
    }
    if (images.isEmpty()) {
      throw new IllegalArgumentException(
          root + ": expected a usable picture, found none; the first: " + skipped.get(0).reason());
    }
    int[] tokens = new int[images.size()];
    for (int i = 0; i < tokens.length; i++) {
      tokens[i] = h(images.get(i)) * w(images.get(i));
    }
    this.packs = Lpfhp.pack(tokens, options.maxTokens(), options.maxImages());
    LOG.info(
        "{}: {} pictures of {} classes in {} packs, {}% full, {} MB of latents kept",
        root,
        images.size(),
        folder.labels().size(),
        packs.size(),
        Math.round(1000 * Lpfhp.efficiency(packs, tokens, options.maxTokens())) / 10.0,
        kept.get() >> 20);
  }

  private Encoded encode(ImageFolder.Entry entry, AtomicLong kept) throws IOException {
    RgbImage image = read(entry);
    Resize.Size size = new Resize.Size(image.width(), image.height());
    long bytes = 2L * Float.BYTES * codec.channels() * latentArea(size);
    if (kept.addAndGet(bytes) <= options.memoryBudget()) {
      return new Encoded(entry, size, latents(entry, image));
    }
    if (options.codec().isPresent()) {
      throw new IllegalArgumentException(
          "--memory-budget: expected room for the latents of all pictures, which --autoencoder"
              + " encodes once, found "
              + (options.memoryBudget() >> 20)
              + " MiB; for more pictures, run nit-train prepare --autoencoder before, and train on"
              + " what it makes");
    }
    kept.addAndGet(-bytes);
    return new Encoded(entry, size, null);
  }

  private float[] latents(ImageFolder.Entry entry, RgbImage image) throws IOException {
    if (options.codec().isEmpty()) {
      return PictureLatents.encodeBoth(codec, image);
    }
    List<float[]> planes = PictureLatents.planes(image);
    // A learned codec meets as many sizes as the pictures have.
    List<float[]> latents =
        learned.encode(planes, DataType.NATIVE_RESOLUTION, Resize.Size.of(image), planes.size());
    float[] both = PictureLatents.both(latents.get(0), latents.get(1));
    if (!Decoded.finite(both)) {
      throw new IOException(folder.file(entry) + ": the latent holds NaN or infinity");
    }
    return both;
  }

  private RgbImage read(ImageFolder.Entry entry) throws IOException {
    Path file = folder.file(entry);
    Picture picture = ImageFile.read(file, options.maxPixels(), options.cropAlpha());
    return Resize.nativeResolution(
        file, picture.image(), options.multiple(), maxSide, options.maxTokens());
  }

  private long latentArea(Resize.Size size) {
    return (long) (size.width() / codec.factor()) * (size.height() / codec.factor());
  }

  private int h(Encoded image) {
    return image.size.height() / options.multiple();
  }

  private int w(Encoded image) {
    return image.size.width() / options.multiple();
  }

  private static <T> List<T> present(T[] values) {
    List<T> list = new ArrayList<>();
    for (T value : values) {
      if (value != null) {
        list.add(value);
      }
    }
    return list;
  }

  @Override
  public TrainingPack load(int pack, Philox choice) throws IOException {
    int[] rows = packs.get(pack);
    int[] h = new int[rows.length];
    int[] w = new int[rows.length];
    for (int i = 0; i < rows.length; i++) {
      h[i] = h(images.get(rows[i]));
      w[i] = w(images.get(rows[i]));
    }
    return PackBuilder.build(
        rows,
        PackLayout.of(h, w),
        codec.channels(),
        options.patchSize(),
        0,
        row -> new Source(images.get(row)),
        choice);
  }

  private final class Source implements PackBuilder.Image {
    private final Encoded image;

    Source(Encoded image) {
      this.image = image;
    }

    @Override
    public float[] latent(boolean mirrored) throws IOException {
      if (image.latents != null) {
        int half = image.latents.length / 2;
        return Arrays.copyOfRange(image.latents, mirrored ? half : 0, mirrored ? 2 * half : half);
      }
      RgbImage again = read(image.entry);
      if (again.width() != image.size.width() || again.height() != image.size.height()) {
        throw new IOException(folder.file(image.entry) + ": changed since training started");
      }
      return PictureLatents.encode(codec, mirrored ? Resize.mirror(again) : again);
    }

    @Override
    public long label() {
      return image.entry.label();
    }

    @Override
    public float[] features(boolean mirrored) {
      return null;
    }

    @Override
    public boolean canMirror() {
      return true;
    }
  }

  @Override
  public int packs() {
    return packs.size();
  }

  @Override
  public int images() {
    return images.size();
  }

  @Override
  public int channels() {
    return codec.channels();
  }

  @Override
  public int featureDim() {
    return 0;
  }

  @Override
  public Optional<CodecSpec> codec() {
    return Optional.of(codec.spec());
  }

  @Override
  public List<String> labels() {
    return folder.labels();
  }

  @Override
  public int classes() {
    return folder.labels().size();
  }

  @Override
  public List<Skipped> skipped() {
    return skipped;
  }

  @Override
  public void close() {} // a codec without weights owns nothing; a learned one is the caller's
}
