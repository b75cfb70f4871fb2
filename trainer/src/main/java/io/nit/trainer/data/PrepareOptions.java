package io.nit.trainer.data;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.codec.LatentCodec;
import io.nit.core.tensor.DType;
import java.nio.file.Path;
import java.util.List;
import java.util.Optional;

/**
 * How pictures become a data set of latents; {@link LatentPreparer} does it.
 *
 * @param data class folders of pictures
 * @param output folder of the data set
 * @param factor the codec's factor
 * @param patchSize patch size of the models that are to be trained
 * @param types sizes that every picture is brought to
 * @param maxSide cap M of native resolution, in pixels
 * @param maxTokens no picture and no pack holds more tokens
 * @param cropAlpha whether pictures are cropped to the box where alpha is above 8
 * @param dtype type of the latents on disk: F32, F16 or BF16
 * @param maxPixels pictures of more pixels are refused unread
 * @param workers threads
 * @param rank which share of the pictures this process does, 0..worldSize-1
 * @param worldSize processes that share the work
 * @param learned how a learned codec encodes; empty for one without weights
 */
public record PrepareOptions(
    Path data,
    Path output,
    int factor,
    int patchSize,
    List<DataType> types,
    int maxSide,
    int maxTokens,
    boolean cropAlpha,
    DType dtype,
    long maxPixels,
    int workers,
    int rank,
    int worldSize,
    Optional<Learned> learned) {
  private static final long BATCH_SQUARE = 512L * 512;
  private static final long CHUNK_PIXELS = 1L << 27; // 400 MB of RGB
  private static final int MOST_OF_A_CHUNK = 128;

  /**
   * How a learned codec encodes, beside what its spec says.
   *
   * @param folder the autoencoder's folder
   * @param precision what it computes in: {@code f32}, {@code bf16} or {@code f16}
   * @param batch n: as many pictures are encoded together as have the pixels of n squares of 512
   */
  public record Learned(Path folder, String precision, int batch) {
    /** Checks the batch and makes the folder's path absolute. */
    public Learned {
      require("--batch", batch, 1, 1 << 12);
      folder = folder.toAbsolutePath().normalize();
    }
  }

  /** With a codec that has no weights. */
  public PrepareOptions(
      Path data,
      Path output,
      int factor,
      int patchSize,
      List<DataType> types,
      int maxSide,
      int maxTokens,
      boolean cropAlpha,
      DType dtype,
      long maxPixels,
      int workers,
      int rank,
      int worldSize) {
    this(
        data,
        output,
        factor,
        patchSize,
        types,
        maxSide,
        maxTokens,
        cropAlpha,
        dtype,
        maxPixels,
        workers,
        rank,
        worldSize,
        Optional.empty());
  }

  /** Checks every value; messages name the flag. */
  public PrepareOptions {
    types = List.copyOf(types);
    require("--factor", factor, 1, 64);
    require("--patch-size", patchSize, 1, 64);
    require("--max-tokens", maxTokens, 1, 1 << 24);
    require("--max-side", maxSide, factor * patchSize, 1 << 15);
    require("--max-pixels", maxPixels, 1, Integer.MAX_VALUE);
    require("--workers", workers, 1, 1024);
    require("--world-size", worldSize, 1, 1 << 16);
    require("--rank", rank, 0, worldSize - 1);
    if (dtype != DType.F32 && dtype != DType.F16 && dtype != DType.BF16) {
      throw new IllegalArgumentException("--dtype: expected f32, f16 or bf16, found " + dtype);
    }
    if (types.isEmpty() || types.stream().distinct().count() != types.size()) {
      throw new IllegalArgumentException("--types: expected each type once, found " + types);
    }
    for (DataType type : types) {
      int side = type.side() / (factor * patchSize);
      if (type.side() % (factor * patchSize) != 0) {
        throw new IllegalArgumentException(
            "--types "
                + type.key()
                + ": expected a side that is a multiple of the codec's factor x --patch-size ("
                + factor * patchSize
                + "), found "
                + type.side());
      }
      if ((long) side * side > maxTokens) {
        throw new IllegalArgumentException(
            "--types "
                + type.key()
                + ": expected at most "
                + maxTokens
                + " tokens (--max-tokens), found "
                + (long) side * side
                + (learned.isPresent() ? "" : "; a larger --factor makes fewer"));
      }
    }
  }

  /** Pixels that the sides of a resized picture are multiples of. */
  int multiple() {
    return factor * patchSize;
  }

  /** With a learned codec. */
  public PrepareOptions withLearned(Learned value) {
    return new PrepareOptions(
        data,
        output,
        factor,
        patchSize,
        types,
        maxSide,
        maxTokens,
        cropAlpha,
        dtype,
        maxPixels,
        workers,
        rank,
        worldSize,
        Optional.of(value));
  }

  /**
   * Pictures of a chunk: the first so many of the data set, the next so many, and so on. What is
   * encoded together never reaches over a chunk's end. A chunk of the largest pictures fits into
   * memory.
   */
  int chunk() {
    long pixels = 0;
    for (DataType type : types) {
      long side = type == DataType.NATIVE_RESOLUTION ? maxSide : type.side();
      pixels += side * side;
    }
    return (int) Math.max(1, Math.min(MOST_OF_A_CHUNK, CHUNK_PIXELS / pixels));
  }

  /** Pictures of a size that a learned codec encodes together, plain and mirrored: 1 or more. */
  int batch(Resize.Size size) {
    return Math.max(1, rows(size) / 2);
  }

  /** Pictures of a size, mirrored ones counted, that it takes in at once: 1 or more. */
  int rows(Resize.Size size) {
    long pixels = 2 * BATCH_SQUARE * learned.orElseThrow().batch;
    return (int) Math.max(1, pixels / ((long) size.width() * size.height()));
  }

  /** What the latents on disk depend on, and nothing else: a resumed run must agree with it. */
  ObjectNode settings(LatentCodec codec) {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.set("codec", codec.spec().toNode());
    node.put("patch_size", patchSize);
    ArrayNode names = node.putArray("types");
    types.forEach(type -> names.add(type.key()));
    node.put("max_side", maxSide)
        .put("max_tokens", maxTokens)
        .put("crop_alpha", cropAlpha)
        .put("dtype", dtype.name())
        .put("max_pixels", maxPixels);
    // A network's last bits depend on what it computes in and on how many it computes at once.
    learned.ifPresent(how -> node.put("precision", how.precision).put("batch", how.batch));
    return node;
  }

  private static void require(String flag, long value, long min, long max) {
    if (value < min || value > max) {
      throw new IllegalArgumentException(
          flag + ": expected " + min + ".." + max + ", found " + value);
    }
  }
}
