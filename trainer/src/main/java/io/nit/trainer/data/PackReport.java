package io.nit.trainer.data;

import io.nit.core.packing.Lpfhp;
import io.nit.core.packing.SamplerMeta;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Arrays;
import java.util.List;
import java.util.stream.IntStream;

/**
 * Packs of a data meta file, with what people want to know of them.
 *
 * @param file the sampler meta file that was written
 * @param packs each a list of rows
 * @param tokens tokens of every row
 * @param maxTokens budget of a pack
 */
public record PackReport(Path file, List<int[]> packs, int[] tokens, int maxTokens) {
  private static final int BAR = 40;
  private static final int BINS = 10;

  /**
   * Packs a data set's rows and writes the sampler meta file.
   *
   * @param data a folder with a data meta file, or that file
   * @param patchSize patch size of the model to train
   * @param maxImages 0 for no bound
   * @param output where to write; null for {@code sampler_meta_<maxTokens>.json} in the folder
   * @throws IllegalArgumentException if there is no data meta file, it is malformed, or a row has
   *     more tokens than fit
   */
  public static PackReport write(
      Path data, int patchSize, int maxTokens, int maxImages, Path output) throws IOException {
    Path meta = Files.isRegularFile(data) ? data : null;
    if (meta == null && Files.isDirectory(data)) {
      meta = LatentData.findMeta(data).orElse(null);
    }
    String expected = "--data: expected a data meta file or a folder with data_meta.jsonl, found ";
    if (!Files.exists(data)) {
      throw new IOException(expected + "nothing at " + data);
    }
    if (meta == null) {
      throw new IllegalArgumentException(expected + data + " without one");
    }
    int[] tokens = DataMeta.read(meta).stream().mapToInt(row -> row.tokens(patchSize)).toArray();
    List<int[]> packs;
    try {
      packs = Lpfhp.pack(tokens, maxTokens, maxImages);
    } catch (IllegalArgumentException e) {
      throw new IllegalArgumentException(meta + ": " + e.getMessage() + " (--max-tokens)", e);
    }
    Path file = output;
    if (file == null) {
      Path folder = Files.isDirectory(data) ? data : data.toAbsolutePath().getParent();
      file = folder.resolve(LatentData.samplerMetaName(maxTokens));
    }
    SamplerMeta.write(file, packs);
    return new PackReport(file, packs, tokens, maxTokens);
  }

  /** Share of real tokens in the room of all packs, 0 to 1. */
  public double efficiency() {
    return Lpfhp.efficiency(packs, tokens, maxTokens);
  }

  /** A histogram of the packs by images, as lines of text. */
  public List<String> histogram() {
    int least = packs.stream().mapToInt(pack -> pack.length).min().orElse(0);
    int most = packs.stream().mapToInt(pack -> pack.length).max().orElse(0);
    int width = (most - least + BINS) / BINS;
    int[] counts = new int[(most - least) / width + 1];
    packs.forEach(pack -> counts[(pack.length - least) / width]++);
    int highest = Arrays.stream(counts).max().orElse(1);
    return IntStream.range(0, counts.length)
        .mapToObj(
            bin -> {
              int from = least + bin * width;
              int to = Math.min(most, from + width - 1);
              String range = from == to ? Integer.toString(from) : from + "-" + to;
              int bar = (int) Math.ceil((double) BAR * counts[bin] / highest);
              return String.format(
                  "%11s images  %8d packs  %s", range, counts[bin], "#".repeat(bar));
            })
        .toList();
  }
}
