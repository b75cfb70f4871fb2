package io.nit.trainer.data;

import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.LatentCodec;
import io.nit.core.image.RgbImage;
import java.io.IOException;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;

/**
 * Encodes a share of the pictures one by one, each on the thread that decoded it: for codecs that
 * are cheaper than the decoding.
 */
final class PictureEncoder implements LatentMaker {
  private final PictureSource source;
  private final PrepareOptions options;
  private final LatentCodec codec;
  private final PreparedPart part;
  private final int[] share; // every worldSize-th picture
  private final AtomicInteger written = new AtomicInteger();
  private final AtomicInteger found = new AtomicInteger();

  PictureEncoder(
      PictureSource source, PrepareOptions options, LatentCodec codec, PreparedPart part) {
    this.source = source;
    this.options = options;
    this.codec = codec;
    this.part = part;
    this.share =
        IntStream.range(0, source.count())
            .filter(i -> i % options.worldSize() == options.rank())
            .toArray();
  }

  @Override
  public int pictures() {
    return share.length;
  }

  @Override
  public void run(StopSignal stop, Progress progress) throws IOException {
    ParallelFor.run(share.length, options.workers(), stop, progress, i -> prepare(share[i]));
  }

  private void prepare(int image) throws IOException {
    List<DataMeta.Row> rows = new ArrayList<>();
    List<Skipped> skipped = new ArrayList<>();
    Picture picture = null;
    for (DataType type : options.types()) {
      RgbImage resized;
      long bytes;
      try {
        bytes = source.bytes(image);
        Optional<DataMeta.Row> before = source.existing(image, type, bytes);
        if (before.isPresent()) {
          found.incrementAndGet();
          rows.add(before.get());
          continue;
        }
        if (picture == null) {
          picture = source.read(image);
        }
        resized = source.resize(image, picture, type);
      } catch (IOException e) {
        // What concerns the picture; a failure to write, below, ends the run instead.
        skipped.add(source.skipped(image, e));
        if (picture == null) {
          break;
        }
        continue;
      }
      Resize.Size original = new Resize.Size(picture.oriWidth(), picture.oriHeight());
      rows.add(
          source.write(
              image,
              type,
              bytes,
              original,
              Resize.Size.of(resized),
              PictureLatents.encodeBoth(codec, resized)));
      written.incrementAndGet();
    }
    part.add(image, rows, skipped);
  }

  @Override
  public int written() {
    return written.get();
  }

  @Override
  public int found() {
    return found.get();
  }
}
