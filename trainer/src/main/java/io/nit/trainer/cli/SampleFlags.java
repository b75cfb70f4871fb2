package io.nit.trainer.cli;

import io.nit.core.codec.LatentCodec;
import io.nit.core.config.NitConfig;
import io.nit.core.flow.Guidance;
import io.nit.core.flow.Philox;
import io.nit.core.packing.PackLayout;
import io.nit.trainer.data.TrainingData;
import io.nit.trainer.loop.SampleGrid;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Comparator;
import java.util.List;
import java.util.Locale;
import java.util.Optional;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import java.util.stream.IntStream;
import java.util.stream.LongStream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;
import picocli.CommandLine.Option;

/** The sample grids that a training draws (a picocli mixin). */
final class SampleFlags {
  private static final Logger LOG = LoggerFactory.getLogger(SampleFlags.class);
  private static final Pattern SIZE = Pattern.compile("(\\d{1,5})x(\\d{1,5})");

  @Option(
      names = "--sample-every",
      paramLabel = "STEPS",
      defaultValue = "1000",
      description =
          "Steps between sample grids from the averaged weights; 0 for none but the last "
              + "(default: ${DEFAULT-VALUE}).")
  long every;

  @Option(
      names = {"--sample-size", "--sample-sizes"},
      paramLabel = "WxH",
      split = ",",
      description =
          "Sizes of the samples in pixels (default: the smallest, a middle and the largest of a "
              + "pack of the data set).")
  List<String> sizes = List.of();

  @Option(
      names = "--sample-classes",
      paramLabel = "N",
      defaultValue = "8",
      description = "Labels of every size (default: ${DEFAULT-VALUE}).")
  int classes;

  @Option(
      names = "--sample-steps",
      paramLabel = "N",
      defaultValue = "25",
      description = "Euler steps of the samples (default: ${DEFAULT-VALUE}).")
  int steps;

  @Option(
      names = "--sample-guidance",
      paramLabel = "SCALE",
      defaultValue = "2",
      description = "Guidance of the samples (default: ${DEFAULT-VALUE}).")
  double guidance;

  /**
   * The grid, or nothing where no codec can decode it.
   *
   * @param codec decodes the data set's latents; closed by the caller
   */
  Optional<SampleGrid> grid(
      NitConfig config, TrainingData data, Optional<LatentCodec> codec, long seed)
      throws IOException {
    if (classes < 1) {
      throw new IllegalArgumentException("--sample-classes: expected 1 or more, found " + classes);
    }
    if (codec.isEmpty()) {
      if (!sizes.isEmpty()) {
        throw new IllegalArgumentException(
            "--sample-size: expected a codec that decodes samples, found none: "
                + SampleCodec.reason(data));
      }
      LOG.info("no sample grids: {}", SampleCodec.reason(data));
      return Optional.empty();
    }
    int multiple = codec.get().factor() * config.patchSize();
    List<int[]> hw = new ArrayList<>();
    for (String size : sizes) {
      hw.add(parse(size, multiple));
    }
    long[] labels = LongStream.range(0, Math.min(classes, config.numClasses())).toArray();
    return Optional.of(
        new SampleGrid(
            hw.isEmpty() ? typicalSizes(data) : hw,
            labels,
            steps,
            new Guidance(guidance, 0, 1),
            seed,
            codec.get()));
  }

  private static int[] parse(String size, int multiple) {
    Matcher matcher = SIZE.matcher(size.toLowerCase(Locale.ROOT));
    if (matcher.matches()) {
      int w = Integer.parseInt(matcher.group(1));
      int h = Integer.parseInt(matcher.group(2));
      if (w > 0 && h > 0 && w % multiple == 0 && h % multiple == 0) {
        return new int[] {h / multiple, w / multiple};
      }
    }
    throw new IllegalArgumentException(
        "--sample-size: expected WIDTHxHEIGHT in multiples of "
            + multiple
            + " pixels, found "
            + size);
  }

  private static List<int[]> typicalSizes(TrainingData data) throws IOException {
    PackLayout layout = data.load(0, new Philox(0, 0)).layout();
    List<int[]> all =
        IntStream.range(0, layout.images())
            .mapToObj(i -> new int[] {layout.h(i), layout.w(i)})
            .sorted(Comparator.comparingInt(hw -> hw[0] * hw[1]))
            .toList();
    return IntStream.of(0, all.size() / 2, all.size() - 1).distinct().mapToObj(all::get).toList();
  }
}
