package io.nit.exporter.verify;

import io.nit.core.bundle.AutoencoderFiles;
import io.nit.core.bundle.EnginePart;
import io.nit.core.bundle.EngineSubject.PictureProfile;
import io.nit.core.codec.DcAeSpec;
import io.nit.core.codec.LatentCodec;
import io.nit.core.codec.Tiling;
import io.nit.core.tensor.DType;
import io.nit.runtime.engine.EngineException;
import io.nit.runtime.engine.EngineOptions;
import io.nit.runtime.engine.EngineOptions.DecodeOptions;
import io.nit.runtime.engine.EngineProvider;
import io.nit.runtime.engine.Engines;
import java.io.IOException;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Optional;
import java.util.OptionalDouble;

/**
 * Compares an engine of an autoencoder's half with the same half of the bundle in ONNX Runtime on
 * the CPU. What 16 bits cost depends on the weights; the bounds only find what is wrong.
 */
public final class AutoencoderEngineVerifier {
  private AutoencoderEngineVerifier() {}

  /** Largest relative error of a precision. */
  public static double bound(DType precision) {
    return switch (precision) {
      case BF16 -> 0.2;
      case F16 -> 5e-2;
      default -> 1e-4;
    };
  }

  /**
   * Runs pictures of several sizes through both, at least one in every profile.
   *
   * @param folder where the ONNX files lie
   * @param engines where the engine and its manifest lie
   * @param spec the autoencoder
   * @param files the ONNX files' names
   * @param part which half
   * @param precision the engine's
   * @param sizes the engine's profiles
   * @param device the GPU
   * @return one entry a size
   * @throws EngineException if the engine or the file does not load or run
   * @throws IOException if a file cannot be read
   */
  public static List<Verification> verify(
      Path folder,
      Path engines,
      DcAeSpec spec,
      AutoencoderFiles files,
      EnginePart part,
      DType precision,
      List<PictureProfile> sizes,
      int device)
      throws IOException, EngineException {
    // Whole pictures: tiles would hide what a profile does.
    Tiling whole = new Tiling(1 << 15, 1 << 15, Long.MAX_VALUE);
    EngineOptions options = new EngineOptions(0, device, new DecodeOptions(whole, 0));
    AutoencoderFiles single =
        files
            .decoderF32()
            .map(
                name ->
                    new AutoencoderFiles(
                        files.encoder(), name, Optional.empty(), files.weights(), DType.F32))
            .orElse(files);
    List<Verification> all = new ArrayList<>();
    try (LatentCodec engine =
            tensorRt().openCodec(AutoencoderVerifier.standIn(engines, spec, files), options);
        LatentCodec reference =
            Engines.openCodec(
                    AutoencoderVerifier.standIn(folder, spec, single),
                    ExportVerifier.BACKEND,
                    options)
                .orElseThrow()) {
      for (int[] size : sizes(spec, sizes)) {
        all.add(compare(engine, reference, part, size[0], size[1], bound(precision)));
      }
    }
    return all;
  }

  private static EngineProvider tensorRt() throws EngineException {
    return Engines.providers().stream()
        .filter(provider -> provider.name().equals(EngineVerifier.BACKEND))
        .findFirst()
        .orElseThrow(
            () ->
                new EngineException(
                    "expected a backend " + EngineVerifier.BACKEND + ", found none"));
  }

  /**
   * Latent heights and widths: small ones, then for each profile one that is too wide for the
   * profile before. A full-size autoencoder's are low, as its twin runs on a CPU.
   */
  static List<int[]> sizes(DcAeSpec spec, List<PictureProfile> profiles) {
    boolean large = AutoencoderVerifier.large(spec);
    List<int[]> all = new ArrayList<>();
    int before = 0;
    for (PictureProfile profile : profiles) {
      int cells = profile.side() / spec.factor();
      if (before == 0) {
        all.add(new int[] {1, 1});
        all.add(new int[] {Math.min(3, cells), Math.min(2, cells)});
        int most = Math.min(large ? 6 : 12, cells);
        all.add(new int[] {most, most});
      } else {
        all.add(new int[] {Math.min(2, cells), before + 1});
      }
      before = cells;
    }
    return all;
  }

  private static Verification compare(
      LatentCodec engine, LatentCodec reference, EnginePart part, int h, int w, double bound) {
    int height = h * engine.factor();
    int width = w * engine.factor();
    float[] found;
    float[] expected;
    if (part == EnginePart.ENCODER) {
      float[] rgb = AutoencoderVerifier.pixels(height * w + 1, 3 * height * width);
      found = engine.encode(rgb, height, width);
      expected = reference.encode(rgb, height, width);
    } else {
      float[] latent = AutoencoderVerifier.normals(h * width, engine.channels() * h * w);
      found = engine.decode(latent, h, w);
      expected = reference.decode(latent, h, w);
    }
    return ExportVerifier.measure(
        ExportVerifier.BACKEND,
        EngineVerifier.BACKEND,
        OptionalDouble.of(bound),
        part.key() + " " + height + "x" + width,
        found,
        expected);
  }
}
