package io.nit.trainer.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.LatentCodec;
import io.nit.core.image.RgbImage;
import io.nit.core.io.AtomicFile;
import io.nit.core.packing.Lpfhp;
import io.nit.core.packing.SamplerMeta;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.HashSet;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.Set;
import java.util.concurrent.CancellationException;
import java.util.concurrent.atomic.AtomicInteger;
import java.util.stream.IntStream;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Makes a data set of latents from class folders of pictures, in the authors' layout:
 *
 * <pre>
 * prepare.json              the settings; a folder takes one set of them
 * latents/TYPE/CLASS/NAME.safetensors   see {@link PreparedImage}
 * skipped.jsonl             pictures left out and why; absent if none
 * sampler_meta_TOKENS.json  the packs
 * dataset.json              see {@link DatasetManifest}
 * data_meta.jsonl           see {@link DataMeta}; written last, so that its presence says the set is whole
 * </pre>
 *
 * <p>Every file is written whole or not at all. A stopped run leaves its finished latents, which
 * the same command finds again and goes on from; the same pictures give the same bytes.
 */
public final class LatentPreparer {
  private static final Logger LOG = LoggerFactory.getLogger(LatentPreparer.class);
  private static final ObjectMapper JSON = new ObjectMapper();
  private static final String SETTINGS = "prepare.json";

  private final PrepareOptions options;
  private final LatentCodec codec;
  private final ImageFolder folder;
  private final String[] latentFiles;
  private final int nativeMaxSide;
  private final AtomicInteger written = new AtomicInteger();
  private final AtomicInteger found = new AtomicInteger();
  private final PreparedPart part = new PreparedPart();

  /**
   * What a run has done.
   *
   * @param pictures pictures of this process' share
   * @param written latent files written
   * @param found latent files that were there already
   * @param skipped pictures left out, of the whole set once that is complete
   * @param complete whether the data set is whole; false while other processes are at work
   * @param rows rows of the data meta file, 0 before it is written
   * @param packs packs of the sampler meta file, 0 before it is written
   * @param efficiency share of real tokens in the packs; empty before they are made
   */
  public record Report(
      int pictures,
      int written,
      int found,
      int skipped,
      boolean complete,
      int rows,
      int packs,
      OptionalDouble efficiency) {}

  private LatentPreparer(PrepareOptions options, LatentCodec codec) throws IOException {
    this.options = options;
    this.codec = codec;
    this.folder = ImageFolder.scan(options.data());
    this.latentFiles = latentFiles(folder.entries());
    this.nativeMaxSide = Resize.maxSide(options.maxSide(), options.maxTokens(), options.multiple());
    if (nativeMaxSide < options.maxSide() && options.types().contains(DataType.NATIVE_RESOLUTION)) {
      LOG.info(
          "pictures of more than {0}x{0} pixels are shrunk: {1} tokens (--max-tokens) hold no more"
              .replace("{0}", Integer.toString(nativeMaxSide))
              .replace("{1}", Integer.toString(options.maxTokens())));
    }
  }

  /**
   * Prepares a data set, or goes on with one.
   *
   * @param tool name and version for the manifest
   * @param stop ends the run at the next picture
   * @return what was done
   * @throws IllegalArgumentException if there is no class folder, no usable picture, or the output
   *     holds a data set of other settings
   * @throws CancellationException if stopped
   * @throws IOException if a file cannot be written
   */
  public static Report prepare(PrepareOptions options, String tool, StopSignal stop, boolean quiet)
      throws IOException {
    try (LatentCodec codec = options.openCodec()) {
      return new LatentPreparer(options, codec).run(tool, stop, quiet);
    }
  }

  private Report run(String tool, StopSignal stop, boolean quiet) throws IOException {
    claim();
    Path own = PreparedPart.file(options.output(), options.rank(), options.worldSize());
    Files.deleteIfExists(own);
    int images = folder.entries().size();
    int[] share =
        IntStream.range(0, images).filter(i -> i % options.worldSize() == options.rank()).toArray();
    try (Progress progress = Progress.start("prepare", share.length, 0, " images", quiet)) {
      ParallelFor.run(share.length, options.workers(), stop, progress, i -> prepareImage(share[i]));
    } catch (CancellationException e) {
      throw new CancellationException(e.getMessage() + "; the same command goes on from there");
    }
    PreparedPart all = part;
    if (options.worldSize() > 1) {
      part.write(own, images);
      Optional<PreparedPart> parts =
          PreparedPart.readAll(options.output(), options.worldSize(), images);
      if (parts.isEmpty()) {
        return new Report(
            share.length,
            written.get(),
            found.get(),
            part.skipped().size(),
            false,
            0,
            0,
            OptionalDouble.empty());
      }
      all = parts.get();
    }
    return finish(share.length, all, tool);
  }

  private static String differences(ObjectNode expected, JsonNode found) {
    List<String> all = new ArrayList<>();
    expected
        .fieldNames()
        .forEachRemaining(
            key -> {
              String asked = expected.get(key).toString();
              String there = found.path(key).toString();
              if (!asked.equals(there)) {
                all.add(
                    key + ": expected " + asked + ", found " + (there.isEmpty() ? "none" : there));
              }
            });
    return all.isEmpty() ? "expected " + expected + ", found " + found : String.join(", ", all);
  }

  /** Writes the settings on the output folder, or checks that they are these. */
  private void claim() throws IOException {
    Path file = options.output().resolve(SETTINGS);
    ObjectNode settings = options.settings(codec);
    if (Files.exists(file)) {
      JsonNode before;
      try {
        before = JSON.readTree(file.toFile());
      } catch (JsonProcessingException e) {
        throw new IllegalArgumentException(file + ": expected JSON", e);
      }
      // Compared as text: numbers read back may be of another node type.
      if (!before.toString().equals(settings.toString())) {
        throw new IllegalArgumentException(
            "--output "
                + options.output()
                + ": holds latents of other settings: "
                + differences(settings, before)
                + "; choose another folder or remove it");
      }
    } else {
      AtomicFile.writeString(file, settings.toPrettyString() + "\n");
    }
  }

  private void prepareImage(int image) throws IOException {
    ImageFolder.Entry entry = folder.entries().get(image);
    Path source = folder.file(entry);
    List<DataMeta.Row> rows = new ArrayList<>();
    List<Skipped> skipped = new ArrayList<>();
    Picture picture = null;
    for (DataType type : options.types()) {
      Path file = latentFolder(type).resolve(latentFiles[image]);
      RgbImage resized;
      long bytes;
      try {
        bytes = Files.size(source);
        Optional<DataMeta.Row> before =
            PreparedImage.existing(file, entry, latentFiles[image], bytes, type, codec, options);
        if (before.isPresent()) {
          found.incrementAndGet();
          rows.add(before.get());
          continue;
        }
        if (picture == null) {
          picture = ImageFile.read(source, options.maxPixels(), options.cropAlpha());
        }
        resized = resize(picture, type, source);
      } catch (IOException e) {
        // What concerns the picture; a failure to write, below, ends the run instead.
        skipped.add(new Skipped(entry.imageFile(), reason(e, source)));
        if (picture == null) {
          break;
        }
        continue;
      }
      rows.add(
          PreparedImage.write(
              file, entry, latentFiles[image], bytes, picture, resized, type, codec, options));
      written.incrementAndGet();
    }
    part.add(image, rows, skipped);
  }

  private RgbImage resize(Picture picture, DataType type, Path source) throws IOException {
    if (type != DataType.NATIVE_RESOLUTION) {
      try {
        return Resize.centerSquare(picture.image(), type.side());
      } catch (IllegalArgumentException e) {
        throw new IOException(source + ": " + e.getMessage(), e);
      }
    }
    return Resize.nativeResolution(
        source, picture.image(), options.multiple(), nativeMaxSide, options.maxTokens());
  }

  /** The message without the folder, which says nothing and makes the list differ elsewhere. */
  private static String reason(IOException e, Path source) {
    String message = String.valueOf(e.getMessage());
    return message.startsWith(source + ": ")
        ? message.substring((source + ": ").length())
        : message;
  }

  private Report finish(int pictures, PreparedPart all, String tool) throws IOException {
    List<Skipped> skipped =
        folder.withRefused(all.skipped().values().stream().flatMap(List::stream).toList());
    Path output = options.output();
    Skipped.write(output.resolve("skipped.jsonl"), skipped);
    List<DataMeta.Row> rows = all.ordered(options.types());
    if (rows.isEmpty()) {
      throw new IllegalArgumentException(
          options.data()
              + ": expected a usable picture, found none; the first: "
              + skipped.get(0).imageFile()
              + ": "
              + skipped.get(0).reason());
    }
    removeTorn();
    int[] tokens = rows.stream().mapToInt(row -> row.tokens(options.patchSize())).toArray();
    List<int[]> packs = Lpfhp.pack(tokens, options.maxTokens(), 0);
    removeStale(rows);
    SamplerMeta.write(output.resolve(LatentData.samplerMetaName(options.maxTokens())), packs);
    writeManifest(rows.size(), skipped.size(), tool);
    DataMeta.write(output.resolve(LatentData.META), rows);
    return new Report(
        pictures,
        written.get(),
        found.get(),
        skipped.size(),
        true,
        rows.size(),
        packs.size(),
        OptionalDouble.of(Lpfhp.efficiency(packs, tokens, options.maxTokens())));
  }

  /** Removes what killed runs left under temporary names; now that all is done, nobody writes. */
  private void removeTorn() throws IOException {
    try (Stream<Path> files = Files.walk(options.output().resolve("latents"))) {
      for (Path file : files.filter(LatentPreparer::isTemporary).toList()) {
        Files.deleteIfExists(file);
      }
    }
  }

  private static boolean isTemporary(Path file) {
    return file.getFileName().toString().matches("\\..+\\.tmp-\\d+-\\d+");
  }

  /** Removes packs of other token budgets where they count the rows of another data meta file. */
  private void removeStale(List<DataMeta.Row> rows) throws IOException {
    Path meta = options.output().resolve(LatentData.META);
    if (Files.exists(meta) && DataMeta.read(meta).equals(rows)) {
      return;
    }
    Files.deleteIfExists(meta);
    try (Stream<Path> files = Files.list(options.output())) {
      for (Path file : files.toList()) {
        if (file.getFileName().toString().matches("sampler_meta_\\d+\\.json")) {
          Files.delete(file);
        }
      }
    }
  }

  private void writeManifest(int rows, int skipped, String tool) throws IOException {
    Map<DataType, String> folders = new EnumMap<>(DataType.class);
    options.types().forEach(type -> folders.put(type, "latents/" + type.key()));
    ObjectNode facts = JSON.createObjectNode();
    facts.put("pictures", folder.entries().size()).put("latents", rows).put("skipped", skipped);
    facts.put("dtype", options.dtype().name());
    new DatasetManifest(Optional.of(codec.spec()), folder.labels(), options.patchSize(), folders)
        .write(options.output(), tool, facts);
  }

  private Path latentFolder(DataType type) {
    return options.output().resolve("latents").resolve(type.key());
  }

  /**
   * Latent files by picture: its path with another ending, as the authors name them. Where two
   * pictures differ in their ending only, the later one keeps it in the name.
   */
  private static String[] latentFiles(List<ImageFolder.Entry> entries) {
    String[] files = new String[entries.size()];
    Set<String> taken = new HashSet<>();
    for (int i = 0; i < files.length; i++) {
      String name = entries.get(i).imageFile();
      String file = name.substring(0, name.lastIndexOf('.')) + ".safetensors";
      for (int n = 0; !taken.add(file); n++) {
        file = name + (n == 0 ? "" : "." + n) + ".safetensors";
      }
      files[i] = file;
    }
    return files;
  }
}
