package io.nit.trainer.data;

import io.nit.core.codec.CodecSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.core.flow.Philox;
import io.nit.core.packing.Lpfhp;
import io.nit.core.packing.PackLayout;
import io.nit.core.packing.SamplerMeta;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.EnumMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.stream.Stream;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * Trains from prepared latents in the authors' layout: a data meta file ({@link DataMeta}), a
 * folder of latents for every type, and packs from a sampler meta file or packed anew.
 *
 * <p>Where things are looked for in the data folder, first found first taken:
 *
 * <ul>
 *   <li>data meta: {@code data_meta.jsonl}; the one {@code data_meta/*_merge_meta.jsonl}; the only
 *       {@code data_meta/*.jsonl};
 *   <li>latents of a type: {@code dataset.json}'s {@code latent_dirs}; {@code latents/<type>}; the
 *       one folder {@code *-native-resolution}, {@code *-256x256}, {@code *-512x512};
 *   <li>packs: the file that is asked for; {@code sampler_meta_<max tokens>.json} where it counts
 *       with the same patch size; packed anew.
 * </ul>
 */
final class LatentData implements TrainingData {
  private static final Logger LOG = LoggerFactory.getLogger(LatentData.class);

  /** Name of the data meta file that lies in a data set. */
  static final String META = "data_meta.jsonl";

  private final DataOptions options;
  private final String metaName;
  private final Map<DataType, Path> folders = new EnumMap<>(DataType.class);
  private final int rows;
  // Columns, not row objects: the authors' merged file has 3.8 million rows.
  private final String[] latentFiles;
  private final DataType[] types;
  private final int[] heights;
  private final int[] widths;
  private final List<int[]> packs;
  private final List<String> labels;
  private final Optional<CodecSpec> codec;
  private final Optional<Path> autoencoder;
  private final int channels;

  /**
   * Opens a data set.
   *
   * @throws IllegalArgumentException if a file is malformed, a path leads out of the folder, a pack
   *     exceeds the token budget or a latent does not divide into patches
   */
  LatentData(Path folder, Path meta, DataOptions options) throws IOException {
    this.options = options;
    this.metaName = meta.toString();
    DatasetManifest manifest = DatasetManifest.read(folder);
    List<DataMeta.Row> all = DataMeta.read(meta);
    this.rows = all.size();
    this.latentFiles = new String[rows];
    this.types = new DataType[rows];
    this.heights = new int[rows];
    this.widths = new int[rows];
    for (int i = 0; i < rows; i++) {
      DataMeta.Row row = all.get(i);
      if (!folders.containsKey(row.type())) {
        folders.put(row.type(), latentFolder(folder, manifest, row.type()));
      }
      if (row.latentHeight() % options.patchSize() != 0
          || row.latentWidth() % options.patchSize() != 0) {
        throw new IllegalArgumentException(
            where(i)
                + ": expected latent sides that are multiples of the patch size "
                + options.patchSize()
                + ", found "
                + row.latentHeight()
                + "x"
                + row.latentWidth());
      }
      SafePath.resolve(folders.get(row.type()), row.latentFile(), where(i) + ": latent_file");
      latentFiles[i] = row.latentFile();
      types[i] = row.type();
      heights[i] = row.latentHeight();
      widths[i] = row.latentWidth();
    }
    int[] tokens = all.stream().mapToInt(row -> row.tokens(options.patchSize())).toArray();
    this.packs = packs(folder, manifest, tokens);
    this.labels = manifest.labels();
    this.channels = open(packs.get(0)[0], 0).channels();
    this.autoencoder = manifest.autoencoder();
    Optional<CodecSpec> assumed = options.codec().map(LatentCodec::spec);
    this.codec = manifest.codec().or(() -> assumed);
    if (codec.isPresent() && codec.get().channels() != channels) {
      throw new IllegalArgumentException(
          (manifest.codec().isPresent()
                  ? folder.resolve(DatasetManifest.FILE) + ": codec"
                  : "--autoencoder")
              + ": expected one of "
              + channels
              + " channels, as the latents have, found "
              + codec.get().channels());
    }
    if (manifest.codec().isEmpty() && assumed.isPresent()) {
      requireFactor(assumed.get().factor(), all.get(0));
    }
    LOG.info(
        "{}: {} latents in {} packs, {}% full",
        folder,
        images(),
        packs.size(),
        Math.round(1000 * Lpfhp.efficiency(packs, tokens, options.maxTokens())) / 10.0);
  }

  private void requireFactor(int factor, DataMeta.Row row) {
    if (row.imageHeight() != row.latentHeight() * factor
        || row.imageWidth() != row.latentWidth() * factor) {
      throw new IllegalArgumentException(
          where(0)
              + ": expected latents of factor "
              + factor
              + ", as --autoencoder has, found "
              + row.latentHeight()
              + "x"
              + row.latentWidth()
              + " of a picture of "
              + row.imageHeight()
              + "x"
              + row.imageWidth());
    }
  }

  /** The data meta file of a folder, if it has one. */
  static Optional<Path> findMeta(Path folder) throws IOException {
    if (Files.exists(folder.resolve(META))) {
      return Optional.of(folder.resolve(META));
    }
    Path metas = folder.resolve("data_meta");
    if (!Files.isDirectory(metas)) {
      return Optional.empty();
    }
    try (Stream<Path> files = Files.list(metas)) {
      List<Path> all =
          files.filter(f -> f.getFileName().toString().endsWith(".jsonl")).sorted().toList();
      List<Path> merged =
          all.stream()
              .filter(f -> f.getFileName().toString().endsWith("_merge_meta.jsonl"))
              .toList();
      List<Path> candidates = merged.isEmpty() ? all : merged;
      if (candidates.size() > 1) {
        throw new IllegalArgumentException(
            metas + ": expected one data meta file, found " + candidates.size());
      }
      return candidates.stream().findFirst();
    }
  }

  private static Path latentFolder(Path folder, DatasetManifest manifest, DataType type)
      throws IOException {
    Path found = folder.resolve("latents").resolve(type.key());
    String named = manifest.latentDirs().get(type);
    if (named != null) {
      found =
          SafePath.resolve(
              folder, named, folder.resolve(DatasetManifest.FILE) + ": latent_dirs." + type.key());
    } else if (!Files.isDirectory(found)) {
      try (Stream<Path> children = Files.list(folder)) {
        List<Path> candidates =
            children
                .filter(Files::isDirectory)
                .filter(f -> f.getFileName().toString().endsWith("-" + type.folderSuffix()))
                .toList();
        if (candidates.size() != 1) {
          throw new IllegalArgumentException(
              folder
                  + ": expected latents of type "
                  + type.key()
                  + " in latents/"
                  + type.key()
                  + " or one folder *-"
                  + type.folderSuffix()
                  + ", found "
                  + candidates.size());
        }
        found = candidates.get(0);
      }
    }
    if (!Files.isDirectory(found)) {
      throw new IllegalArgumentException(found + ": expected a folder of latents, found none");
    }
    SafePath.requireInside(folder.toRealPath(), found);
    return found.toRealPath();
  }

  private List<int[]> packs(Path folder, DatasetManifest manifest, int[] tokens)
      throws IOException {
    Path prepared = folder.resolve(samplerMetaName(options.maxTokens()));
    boolean usable =
        options.maxImages() == 0
            && manifest.patchSize() == options.patchSize()
            && Files.exists(prepared);
    if (options.samplerMeta().isEmpty() && !usable) {
      return Lpfhp.pack(tokens, options.maxTokens(), options.maxImages());
    }
    Path file = options.samplerMeta().orElse(prepared);
    List<int[]> packs = SamplerMeta.read(file, rows);
    if (packs.isEmpty()) {
      throw new IllegalArgumentException(file + ": expected packs, found none");
    }
    for (int p = 0; p < packs.size(); p++) {
      long sum = 0;
      for (int row : packs.get(p)) {
        sum += tokens[row];
      }
      if (sum > options.maxTokens()
          || (options.maxImages() > 0 && packs.get(p).length > options.maxImages())) {
        throw new IllegalArgumentException(
            file
                + ": pack "
                + p
                + ": expected at most "
                + options.maxTokens()
                + " tokens (--max-tokens)"
                + (options.maxImages() > 0 ? " and " + options.maxImages() + " images" : "")
                + ", found "
                + sum
                + " tokens and "
                + packs.get(p).length
                + " images");
      }
    }
    return packs;
  }

  /** Name of the packs that lie in a data set: {@code sampler_meta_16384.json}. */
  static String samplerMetaName(int maxTokens) {
    return "sampler_meta_" + maxTokens + ".json";
  }

  private String where(int row) {
    return metaName + ": row " + row;
  }

  private LatentFile open(int row, int expectedChannels) throws IOException {
    Path folder = folders.get(types[row]);
    Path file = SafePath.resolve(folder, latentFiles[row], where(row) + ": latent_file");
    SafePath.requireInside(folder, file);
    return LatentFile.read(
        file,
        expectedChannels,
        heights[row],
        widths[row],
        options.patchSize(),
        featureDim(),
        labels.size());
  }

  @Override
  public TrainingPack load(int pack, Philox choice) throws IOException {
    int[] images = packs.get(pack);
    int[] h = new int[images.length];
    int[] w = new int[images.length];
    for (int i = 0; i < images.length; i++) {
      h[i] = heights[images[i]] / options.patchSize();
      w[i] = widths[images[i]] / options.patchSize();
    }
    return PackBuilder.build(
        images,
        PackLayout.of(h, w),
        channels,
        options.patchSize(),
        featureDim(),
        row -> open(row, channels),
        choice);
  }

  @Override
  public int packs() {
    return packs.size();
  }

  @Override
  public int images() {
    return packs.stream().mapToInt(pack -> pack.length).sum();
  }

  @Override
  public int channels() {
    return channels;
  }

  @Override
  public int featureDim() {
    return options.zDim().orElse(0);
  }

  @Override
  public Optional<CodecSpec> codec() {
    return codec;
  }

  @Override
  public Optional<Path> autoencoder() {
    return autoencoder;
  }

  @Override
  public List<String> labels() {
    return labels;
  }

  @Override
  public int classes() {
    return labels.size();
  }

  @Override
  public void close() {}
}
