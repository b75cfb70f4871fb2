package io.nit.trainer.data;

import com.fasterxml.jackson.databind.node.ArrayNode;
import com.fasterxml.jackson.databind.node.JsonNodeFactory;
import com.fasterxml.jackson.databind.node.ObjectNode;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.SpaceToDepthCodec;
import io.nit.core.tensor.DType;
import java.nio.file.Path;
import java.util.List;

/**
 * How pictures become a data set of latents; {@link LatentPreparer} does it.
 *
 * @param data class folders of pictures
 * @param output folder of the data set
 * @param factor factor of the space-to-depth codec
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
    int worldSize) {

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
                + ": expected a side that is a multiple of --factor x --patch-size ("
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
                + "; a larger --factor makes fewer");
      }
    }
  }

  /** Pixels that the sides of a resized picture are multiples of. */
  int multiple() {
    return factor * patchSize;
  }

  /** The codec; the caller closes it. */
  LatentCodec openCodec() {
    return new SpaceToDepthCodec(factor);
  }

  /** What the latents on disk depend on, and nothing else: a resumed run must agree with it. */
  ObjectNode settings(LatentCodec codec) {
    ObjectNode node = JsonNodeFactory.instance.objectNode();
    node.set("codec", codec.spec().toNode());
    node.put("patch_size", patchSize);
    ArrayNode names = node.putArray("types");
    types.forEach(type -> names.add(type.key()));
    return node.put("max_side", maxSide)
        .put("max_tokens", maxTokens)
        .put("crop_alpha", cropAlpha)
        .put("dtype", dtype.name())
        .put("max_pixels", maxPixels);
  }

  private static void require(String flag, long value, long min, long max) {
    if (value < min || value > max) {
      throw new IllegalArgumentException(
          flag + ": expected " + min + ".." + max + ", found " + value);
    }
  }
}
