package io.nit.core.codec;

import java.util.LinkedHashSet;
import java.util.Set;

/**
 * How large pictures are decoded in overlapping tiles, after diffusers' rule for {@code
 * AutoencoderDC}. Tiles begin every {@code stride} pixels; where two overlap, one fades into the
 * other linearly. A tile sees only itself, and a DC-AE's attention sees the whole picture, so a
 * tiled decode is close to the whole one and not equal to it.
 *
 * <p>At its border a tile sees zeros where the picture goes on, which shows as a faint line where a
 * fade begins or ends. With a margin every tile is decoded with what lies around it, which is cut
 * away again; diffusers has none.
 *
 * <p>Legend: T tile, S stride, e = T - S the overlap, all in pixels; Tl and Sl the first two in
 * latent pixels.
 *
 * @param tile side T of a tile in pixels
 * @param stride pixels S from one tile to the next, at most T
 * @param margin pixels decoded around a tile and cut away, rounded up to whole latent pixels; 0 for
 *     diffusers' own values
 * @param maxPixels pictures of more pixels than this are decoded in tiles
 */
public record Tiling(int tile, int stride, int margin, long maxPixels) {
  /**
   * Tiles of 1024 pixels, which show less than diffusers' 512 in flat areas, an eighth of them
   * overlap, with a margin of 64, for pictures above 1024×1024.
   */
  public static final Tiling STANDARD = new Tiling(1024, 896, standardMargin(1024), 1024L * 1024);

  /** As diffusers has it, without a margin. */
  public Tiling(int tile, int stride, long maxPixels) {
    this(tile, stride, 0, maxPixels);
  }

  /** Checks the values against each other. */
  public Tiling {
    if (tile < 1 || tile > 1 << 15) {
      throw new IllegalArgumentException("tile: expected 1..32768 pixels, found " + tile);
    }
    if (stride < 1 || stride > tile) {
      throw new IllegalArgumentException(
          "tile stride: expected 1.."
              + tile
              + " pixels (the tile), found "
              + stride
              + "; a larger one would leave pixels out");
    }
    if (margin < 0 || margin > 1 << 15) {
      throw new IllegalArgumentException("tile margin: expected 0..32768 pixels, found " + margin);
    }
    if (maxPixels < 1) {
      throw new IllegalArgumentException(
          "pixels above which pictures are tiled: expected 1 or more, found " + maxPixels);
    }
  }

  /** The margin of a tile: an eighth of it, 64 pixels at most. */
  public static int standardMargin(int tile) {
    return Math.min(64, tile / 8);
  }

  /** Decodes one tile: [C, h, w] to [3, h·factor, w·factor]. */
  @FunctionalInterface
  public interface TileDecoder {
    /** Decodes a latent of h×w. */
    float[] decode(float[] latent, int h, int w);
  }

  /**
   * Checks that tile and stride are whole latent pixels.
   *
   * @param factor the codec's factor
   * @return this
   * @throws IllegalArgumentException if one is no multiple of the factor
   */
  public Tiling require(int factor) {
    if (tile % factor != 0 || stride % factor != 0) {
      throw new IllegalArgumentException(
          "tile and tile stride: expected multiples of "
              + factor
              + " pixels (the codec's factor), found "
              + tile
              + " and "
              + stride);
    }
    return this;
  }

  /**
   * These tiles where a decoder holds them with their margins, else the largest that it holds, an
   * eighth of them overlap and margin.
   *
   * @param side the most pixels of a side that the decoder takes, a multiple of the factor
   * @param factor the codec's factor
   */
  public Tiling within(int side, int factor) {
    if (tile + 2 * wholeMargin(factor) * factor <= side) {
      return this;
    }
    int cells = side / factor;
    int around = Math.min(wholeMargin(factor), cells / 10); // 8 parts of tile between 2 of margin
    int inner = cells - 2 * around;
    int overlap = Math.min(Math.max(1, inner / 8), inner - 1);
    return new Tiling(inner * factor, (inner - overlap) * factor, around * factor, maxPixels);
  }

  /** The margin in whole latent pixels. */
  private int wholeMargin(int factor) {
    return (margin + factor - 1) / factor;
  }

  /** Whether a picture is decoded in tiles. */
  public boolean applies(int height, int width) {
    return (long) height * width > maxPixels && (height > tile || width > tile);
  }

  /** Tiles along a side of so many pixels. */
  public int tilesAlong(int side) {
    return (side + stride - 1) / stride;
  }

  /**
   * Decodes a latent tile by tile.
   *
   * @param latent [C, latentH, latentW]
   * @param factor the codec's factor
   * @param decoder decodes a tile; what it returns is changed
   * @return [3, latentH·factor, latentW·factor]
   */
  public float[] decode(float[] latent, int latentH, int latentW, int factor, TileDecoder decoder) {
    require(factor);
    int channels = latent.length / (latentH * latentW);
    int sl = stride / factor;
    int width = latentW * factor;
    int height = latentH * factor;
    float[] picture = new float[3 * height * width];
    Tile[] above = new Tile[tilesAlong(width)];
    for (int top = 0; top < latentH; top += sl) {
      Tile left = null;
      for (int start = 0, column = 0; start < latentW; start += sl, column++) {
        Place place = place(top, start, latentH, latentW, factor);
        Box box = place.tile;
        Box around = place.around;
        float[] seen =
            decoder.decode(
                cut(latent, channels, latentH, latentW, around), around.height, around.width);
        float[] rgb =
            cut(
                seen,
                3,
                around.height * factor,
                around.width * factor,
                box.within(around).times(factor));
        Tile tile = new Tile(rgb, box.height * factor, box.width * factor);
        if (top > 0) {
          tile.fadeInBelow(above[column], this.tile - stride);
        }
        if (start > 0) {
          tile.fadeInRightOf(left, this.tile - stride);
        }
        tile.copyTo(picture, height, width, top * factor, start * factor, stride);
        left = tile;
        above[column] = tile; // as it is now: what a later one fades from is itself faded
      }
    }
    return picture;
  }

  /**
   * The sizes of tiles, their margins included, that {@link #decode} decodes of a latent.
   *
   * @param factor the codec's factor
   */
  public Set<LatentSize> sizes(int latentH, int latentW, int factor) {
    require(factor);
    Set<LatentSize> sizes = new LinkedHashSet<>();
    for (int top = 0; top < latentH; top += stride / factor) {
      for (int start = 0; start < latentW; start += stride / factor) {
        Box around = place(top, start, latentH, latentW, factor).around;
        sizes.add(new LatentSize(around.height, around.width));
      }
    }
    return sizes;
  }

  /** A tile, and what is decoded for it. */
  private record Place(Box tile, Box around) {}

  private Place place(int top, int start, int latentH, int latentW, int factor) {
    int side = tile / factor;
    Box box = new Box(top, start, Math.min(side, latentH - top), Math.min(side, latentW - start));
    return new Place(box, box.widened(wholeMargin(factor), latentH, latentW));
  }

  /** A part of a plane. */
  private record Box(int top, int left, int height, int width) {
    /** With so much more on every side as there is in a plane. */
    Box widened(int by, int planeH, int planeW) {
      int y = Math.max(0, top - by);
      int x = Math.max(0, left - by);
      return new Box(
          y, x, Math.min(planeH, top + height + by) - y, Math.min(planeW, left + width + by) - x);
    }

    Box within(Box outer) {
      return new Box(top - outer.top, left - outer.left, height, width);
    }

    Box times(int factor) {
      return new Box(top * factor, left * factor, height * factor, width * factor);
    }
  }

  private static float[] cut(float[] planes, int channels, int planeH, int planeW, Box box) {
    float[] part = new float[channels * box.height * box.width];
    for (int c = 0; c < channels; c++) {
      for (int y = 0; y < box.height; y++) {
        int from = (c * planeH + box.top + y) * planeW + box.left;
        System.arraycopy(planes, from, part, (c * box.height + y) * box.width, box.width);
      }
    }
    return part;
  }

  private record Tile(float[] rgb, int height, int width) {
    void fadeInBelow(Tile above, int overlap) {
      int n = Math.min(Math.min(above.height, height), overlap);
      for (int c = 0; c < 3; c++) {
        for (int y = 0; y < n; y++) {
          float share = (float) y / n;
          int from = (c * above.height + above.height - n + y) * above.width;
          int to = (c * height + y) * width;
          for (int x = 0; x < width; x++) {
            rgb[to + x] = above.rgb[from + x] * (1 - share) + rgb[to + x] * share;
          }
        }
      }
    }

    void fadeInRightOf(Tile left, int overlap) {
      int n = Math.min(Math.min(left.width, width), overlap);
      for (int c = 0; c < 3; c++) {
        for (int y = 0; y < height; y++) {
          int from = (c * left.height + y) * left.width + left.width - n;
          int to = (c * height + y) * width;
          for (int x = 0; x < n; x++) {
            float share = (float) x / n;
            rgb[to + x] = left.rgb[from + x] * (1 - share) + rgb[to + x] * share;
          }
        }
      }
    }

    /** Copies at most {@code most} rows and columns; what lies beyond belongs to the next tile. */
    void copyTo(float[] picture, int fullHeight, int fullWidth, int top, int left, int most) {
      int h = Math.min(height, most);
      int w = Math.min(width, most);
      for (int c = 0; c < 3; c++) {
        for (int y = 0; y < h; y++) {
          System.arraycopy(
              rgb,
              (c * height + y) * width,
              picture,
              (c * fullHeight + top + y) * fullWidth + left,
              w);
        }
      }
    }
  }
}
