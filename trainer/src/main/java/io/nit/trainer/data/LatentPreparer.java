package io.nit.trainer.data;

import com.fasterxml.jackson.core.JsonProcessingException;
import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.cli.Progress;
import io.nit.core.cli.StopSignal;
import io.nit.core.codec.LatentCodec;
import io.nit.core.io.AtomicFile;
import io.nit.core.io.FileTree;
import io.nit.core.io.TextFile;
import io.nit.core.packing.Lpfhp;
import io.nit.core.packing.SamplerMeta;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.OptionalDouble;
import java.util.concurrent.CancellationException;
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
  private final PictureSource source;
  private final PreparedPart part = new PreparedPart();
  private final LatentMaker maker;

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
    this.source = new PictureSource(options, codec);
    this.maker =
        options.learned().isPresent()
            ? new BatchEncoder(source, options, codec, part)
            : new PictureEncoder(source, options, codec, part);
    int side = source.nativeMaxSide();
    if (side < options.maxSide() && options.types().contains(DataType.NATIVE_RESOLUTION)) {
      LOG.info(
          "pictures of more than {0}x{0} pixels are shrunk: {1} tokens (--max-tokens) hold no more"
              .replace("{0}", Integer.toString(side))
              .replace("{1}", Integer.toString(options.maxTokens())));
    }
  }

  /**
   * Prepares a data set, or goes on with one.
   *
   * @param codec encodes the pictures; of the options' factor, closed by the caller
   * @param tool name and version for the manifest
   * @param stop ends the run at the next picture
   * @return what was done
   * @throws IllegalArgumentException if there is no class folder, no usable picture, or the output
   *     holds a data set of other settings
   * @throws CancellationException if stopped
   * @throws IOException if a file cannot be written
   */
  public static Report prepare(
      PrepareOptions options, LatentCodec codec, String tool, StopSignal stop, boolean quiet)
      throws IOException {
    if (codec.factor() != options.factor()) {
      throw new IllegalArgumentException(
          "codec factor: expected " + options.factor() + ", found " + codec.factor());
    }
    return new LatentPreparer(options, codec).run(tool, stop, quiet);
  }

  private Report run(String tool, StopSignal stop, boolean quiet) throws IOException {
    claim();
    Path own = PreparedPart.file(options.output(), options.rank(), options.worldSize());
    Files.deleteIfExists(own);
    int images = source.count();
    try (Progress progress = Progress.start("prepare", maker.pictures(), 0, " images", quiet)) {
      maker.run(stop, progress);
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
            maker.pictures(),
            maker.written(),
            maker.found(),
            part.skipped().size(),
            false,
            0,
            0,
            OptionalDouble.empty());
      }
      all = parts.get();
    }
    return finish(all, tool);
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
    FileTree.requireFolderOrNothing("--output", options.output());
    Path file = options.output().resolve(SETTINGS);
    ObjectNode settings = options.settings(codec);
    if (Files.exists(file)) {
      TextFile.requireSmall(file);
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

  private Report finish(PreparedPart all, String tool) throws IOException {
    List<Skipped> skipped =
        source.folder().withRefused(all.skipped().values().stream().flatMap(List::stream).toList());
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
        maker.pictures(),
        maker.written(),
        maker.found(),
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
    facts.put("pictures", source.count()).put("latents", rows).put("skipped", skipped);
    facts.put("dtype", options.dtype().name());
    new DatasetManifest(
            Optional.of(codec.spec()),
            source.folder().labels(),
            options.patchSize(),
            folders,
            options.learned().map(PrepareOptions.Learned::folder))
        .write(options.output(), tool, facts);
  }
}
