package io.nit.runtime.cli;

import io.nit.core.bundle.Bundle;
import io.nit.core.codec.Tiling;
import picocli.CommandLine.Option;

/** How large pictures are decoded (a picocli mixin); a plain codec has no use for it. */
final class TilingOptions {
  @Option(
      names = "--tile-above",
      paramLabel = "PIXELS",
      description =
          "A learned autoencoder decodes pictures of more pixels in tiles, which bounds memory"
              + " (default: 1048576, that is 1024x1024).")
  private Long above;

  @Option(
      names = "--tile",
      paramLabel = "PIXELS",
      description = "Side of a tile, a multiple of the autoencoder's factor (default: 1024).")
  private Integer tile;

  @Option(
      names = "--tile-stride",
      paramLabel = "PIXELS",
      description =
          "From one tile to the next, at most the tile; they fade into each other where they"
              + " overlap (default: seven eighths of the tile).")
  private Integer stride;

  @Option(
      names = "--tile-margin",
      paramLabel = "PIXELS",
      description =
          "Decoded around every tile and cut away, so that no seam shows where tiles meet; 0 for"
              + " diffusers' own values (default: an eighth of the tile, 64 at most).")
  private Integer margin;

  TilingOptions() {}

  /**
   * The tiling for a bundle.
   *
   * @throws IllegalArgumentException naming the flag, if a value does not fit the others or the
   *     bundle's autoencoder
   */
  Tiling tiling(Bundle bundle) {
    int factor = bundle.autoencoder().isPresent() ? bundle.codec().orElseThrow().factor() : 1;
    Tiling standard = Tiling.STANDARD;
    int side = tile == null ? standard.tile() : tile;
    Flags.parsed("--tile", () -> new Tiling(side, 1, 1));
    requireMultiple("--tile", side, factor);
    int step = stride == null ? Math.max(factor, side / 8 * 7 / factor * factor) : stride;
    Flags.parsed("--tile-stride", () -> new Tiling(side, step, 1));
    requireMultiple("--tile-stride", step, factor);
    long most = above == null ? standard.maxPixels() : above;
    int around = margin == null ? Tiling.standardMargin(side) : margin;
    Flags.parsed("--tile-margin", () -> new Tiling(side, step, around, 1));
    return Flags.parsed("--tile-above", () -> new Tiling(side, step, around, most));
  }

  private static void requireMultiple(String flag, int pixels, int factor) {
    if (pixels % factor != 0) {
      throw new IllegalArgumentException(
          flag
              + ": expected a multiple of "
              + factor
              + " pixels (the autoencoder's factor), found "
              + pixels);
    }
  }
}
