package io.nit.exporter.cli;

import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.tensor.DType;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.StringJoiner;
import java.util.stream.Collectors;
import picocli.CommandLine.Option;

/** How engines of an autoencoder are built (a picocli mixin). */
final class AutoencoderEngineFlags {
  /**
   * Pixels of a side. 1152 holds the standard tiles of 1024 with their margins, in which larger
   * pictures are decoded.
   */
  private static final List<Integer> STANDARD = List.of(512, 1152, 2048);

  @Option(
      names = "--autoencoder-precision",
      paramLabel = "TYPE",
      description =
          "Type of the autoencoder's arithmetic: bf16, f16, f32; default: bf16, or f32 with"
              + " --precision f32. Norms and attention stay in single precision. f16 ends at 65504,"
              + " which a trained autoencoder's activations can pass: such pictures are decoded"
              + " again where there is an f32 engine beside it, and fail where there is none.")
  private String precision;

  @Option(
      names = "--autoencoder-sizes",
      paramLabel = "N,N,...",
      split = ",",
      description =
          "The most pixels of a side for each profile of the autoencoder, rising multiples of its"
              + " factor; a picture of any shape runs in the smallest that holds both of its sides,"
              + " and takes device memory for that one. Larger pictures are decoded in tiles."
              + " Default: 512,1152,2048, up to what the bundle's limit of tokens makes.")
  private List<Integer> sizes;

  @Option(
      names = "--autoencoder-batch",
      paramLabel = "N",
      description =
          "The most pictures of one size that the autoencoder takes together; memory grows with it."
              + " Default: 1.")
  private Integer batch;

  /** The flags that were given, by their names. */
  List<String> names() {
    List<String> names = new ArrayList<>();
    if (precision != null) {
      names.add("--autoencoder-precision");
    }
    if (sizes != null) {
      names.add("--autoencoder-sizes");
    }
    if (batch != null) {
      names.add("--autoencoder-batch");
    }
    return names;
  }

  /** The type of the arithmetic, beside a model's. */
  DType precision(DType model) {
    return precision == null
        ? (model == DType.F32 ? DType.F32 : DType.BF16)
        : ExportOptions.type(
            "--autoencoder-precision", precision, List.of(DType.BF16, DType.F16, DType.F32));
  }

  /**
   * The sizes of pictures.
   *
   * @param factor the autoencoder's
   * @param largest pixels of a side of the largest square that is to be decoded
   */
  List<PictureProfile> sizes(int factor, int largest) {
    List<Integer> sides = sizes == null ? standard(factor, largest) : sizes;
    int together = batch == null ? 1 : batch;
    return sides.stream().map(side -> new PictureProfile(side, together)).toList();
  }

  /** The standard sizes as whole latent pixels, up to the first that holds {@code largest}. */
  static List<Integer> standard(int factor, int largest) {
    List<Integer> sides = new ArrayList<>();
    for (int side : STANDARD) {
      int whole = (side + factor - 1) / factor * factor;
      if (sides.isEmpty() || sides.get(sides.size() - 1) < Math.min(largest, whole)) {
        sides.add(whole);
      }
    }
    return sides;
  }

  /** The flags that were given, and the precision, as a command line has them. */
  String given(DType made) {
    StringJoiner words = new StringJoiner(" ");
    words.add("--autoencoder-precision " + made.name().toLowerCase(Locale.ROOT));
    if (sizes != null) {
      words.add(
          "--autoencoder-sizes "
              + sizes.stream().map(String::valueOf).collect(Collectors.joining(",")));
    }
    if (batch != null) {
      words.add("--autoencoder-batch " + batch);
    }
    return words.toString();
  }
}
