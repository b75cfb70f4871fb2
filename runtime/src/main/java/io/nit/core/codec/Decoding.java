package io.nit.core.codec;

import io.nit.core.image.RgbImage;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.Set;
import org.slf4j.Logger;
import org.slf4j.LoggerFactory;

/**
 * How a learned autoencoder decodes, whichever library computes: large pictures in tiles, others as
 * many together as a budget allows, and what comes out with NaN or infinity once more in single
 * precision, with a warning in the log.
 */
public final class Decoding {
  private static final Logger LOG = LoggerFactory.getLogger(Decoding.class);

  private final int factor;
  private final Tiling tiling;
  private final PixelBudget budget;
  private final Network network;
  private final Optional<Network> single;
  private final int mostSide;

  /** A decoder: latents of one size, [C, h, w] each, to pictures [3, h·factor, w·factor]. */
  @FunctionalInterface
  public interface Network {
    /** Decodes them in one run; values may come out with NaN or infinity. */
    List<float[]> decode(List<float[]> latents, int h, int w);
  }

  /** A decoder that makes bytes of what it computes, where that lies. */
  @FunctionalInterface
  public interface ImageNetwork {
    /** Decodes latents as {@link Network} does; empty for those with NaN or infinity. */
    List<Optional<RgbImage>> decode(List<float[]> latents, int h, int w);
  }

  /**
   * Of a decoder.
   *
   * @param factor pixels a latent pixel spans on each axis
   * @param tiling how large pictures are decoded
   * @param budget pixels decoded together
   * @param network what decodes
   * @param single the same in single precision; empty where {@code network} computes in it
   * @throws IllegalArgumentException if the tiles are no whole latent pixels
   */
  public Decoding(
      int factor, Tiling tiling, PixelBudget budget, Network network, Optional<Network> single) {
    this(factor, tiling, budget, network, single, Integer.MAX_VALUE);
  }

  /**
   * Of a decoder that takes pictures up to a size only.
   *
   * @param mostSide pixels of a side above which a picture is decoded in tiles in any case
   */
  public Decoding(
      int factor,
      Tiling tiling,
      PixelBudget budget,
      Network network,
      Optional<Network> single,
      int mostSide) {
    this.mostSide = mostSide;
    this.factor = factor;
    this.tiling = tiling.require(factor);
    this.budget = budget;
    this.network = network;
    this.single = single;
  }

  /** Pictures of a size that are decoded together; 1 where they are decoded in tiles. */
  public int limit(int latentH, int latentW) {
    int height = latentH * factor;
    int width = latentW * factor;
    return tiled(height, width) ? 1 : budget.together(height, width);
  }

  /**
   * Decodes latents of one size.
   *
   * @param latents [C, latentH, latentW] each
   * @return their pictures, in the same order
   * @throws NonFiniteDecodeException if one holds NaN or infinity in single precision too
   */
  public List<Decoded> decode(List<float[]> latents, int latentH, int latentW) {
    int height = latentH * factor;
    int width = latentW * factor;
    List<Decoded> pictures = new ArrayList<>();
    if (tiled(height, width)) {
      latents.forEach(latent -> pictures.add(tiled(latent, latentH, latentW)));
      return pictures;
    }
    for (List<float[]> batch : budget.split(latents, height, width)) {
      pictures.addAll(whole(batch, latentH, latentW));
    }
    return pictures;
  }

  /**
   * Decodes latents of one size to bytes, as {@link #decode} and {@link RgbImage#ofPlanes} do.
   *
   * @param direct the network for pictures that are decoded whole, once
   * @return their pictures, in the same order
   * @throws NonFiniteDecodeException as {@link #decode}
   */
  public List<DecodedImage> images(
      List<float[]> latents, int latentH, int latentW, ImageNetwork direct) {
    int height = latentH * factor;
    int width = latentW * factor;
    List<DecodedImage> pictures = new ArrayList<>();
    if (tiled(height, width)) {
      for (float[] latent : latents) {
        pictures.add(DecodedImage.of(tiled(latent, latentH, latentW), height, width));
      }
      return pictures;
    }
    for (List<float[]> batch : budget.split(latents, height, width)) {
      for (Optional<RgbImage> image : direct.decode(batch, latentH, latentW)) {
        float[] latent = latents.get(pictures.size());
        pictures.add(
            image
                .map(made -> new DecodedImage(made, false, 1))
                .orElseGet(() -> DecodedImage.of(again(latent, latentH, latentW), height, width)));
      }
    }
    return pictures;
  }

  /** The sizes that the network is given for a latent: its own, or those of its tiles. */
  public Set<LatentSize> runs(int latentH, int latentW) {
    return tiled(latentH * factor, latentW * factor)
        ? tiling.sizes(latentH, latentW, factor)
        : Set.of(new LatentSize(latentH, latentW));
  }

  private boolean tiled(int height, int width) {
    return tiling.applies(height, width) || height > mostSide || width > mostSide;
  }

  private Decoded tiled(float[] latent, int latentH, int latentW) {
    int[] tiles = new int[1];
    boolean[] retried = new boolean[1];
    float[] rgb =
        tiling.decode(
            latent,
            latentH,
            latentW,
            factor,
            (part, h, w) -> {
              Decoded tile = whole(List.of(part), h, w).get(0);
              tiles[0]++;
              retried[0] |= tile.retried();
              return tile.rgb();
            });
    return new Decoded(rgb, retried[0], tiles[0]);
  }

  private List<Decoded> whole(List<float[]> latents, int h, int w) {
    List<Decoded> pictures = new ArrayList<>();
    for (float[] rgb : network.decode(latents, h, w)) {
      pictures.add(
          Decoded.finite(rgb) ? Decoded.of(rgb) : again(latents.get(pictures.size()), h, w));
    }
    return pictures;
  }

  private Decoded again(float[] latent, int h, int w) {
    if (single.isPresent()) {
      LOG.warn(
          "a picture of {}x{} came out of the decoder with NaN or infinity, and is decoded again in"
              + " F32",
          w * factor,
          h * factor);
      float[] rgb = single.get().decode(List.of(latent), h, w).get(0);
      if (Decoded.finite(rgb)) {
        return new Decoded(rgb, true, 1);
      }
    }
    throw new NonFiniteDecodeException(latent, h, w);
  }
}
