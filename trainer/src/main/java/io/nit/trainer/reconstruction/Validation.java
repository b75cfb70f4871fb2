package io.nit.trainer.reconstruction;

import io.nit.core.image.ContactSheet;
import io.nit.core.image.RgbImage;
import io.nit.trainer.autoencoder.DcAe;
import io.nit.trainer.autoencoder.Precision;
import io.nit.trainer.data.PictureSet;
import io.nit.trainer.model.Weights;
import java.io.IOException;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.Locale;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.NoGradGuard;
import org.bytedeco.pytorch.Tensor;

/**
 * An autoencoder on fixed pictures: the middle squares of those that were held out.
 *
 * @param set where the pictures come from
 * @param pictures which of them
 * @param crop pixels of a square's side
 * @param batch squares that are computed together
 * @param precision what activations are computed in
 */
record Validation(PictureSet set, int[] pictures, int crop, int batch, Precision precision) {
  /** Pictures of a grid. */
  static final int SHOWN = 8;

  private static final int SHEET_WIDTH = 1024;
  private static final int ENLARGED_BELOW = 128;

  /**
   * Means over the pictures.
   *
   * @param psnr in dB, see {@link Quality#psnr}
   * @param ssim see {@link Quality#ssim}
   */
  record Scores(double psnr, double ssim) {}

  private interface Visit {
    /** Original and what became of it, [n, 3, crop, crop] in [-1, 1], and where they begin. */
    void see(int from, Tensor x, Tensor y);
  }

  /** Measures reconstructions; pictures are clamped to what a file can hold. */
  Scores measure(DcAe model) throws IOException {
    double[] sums = new double[2];
    each(
        model,
        pictures,
        (from, x, y) -> {
          Tensor a = ReconstructionLoss.unit(x);
          Tensor b = clamped(y);
          sums[0] += Quality.psnr(a, b).sum().item_double();
          sums[1] += Quality.ssim(a, b).sum().item_double();
        });
    return new Scores(sums[0] / pictures.length, sums[1] / pictures.length);
  }

  private static Tensor clamped(Tensor y) {
    return ReconstructionLoss.unit(Crops.clamp(y));
  }

  /** The first few pictures in a row, what became of them in the row below. */
  RgbImage draw(DcAe model) throws IOException {
    int[] shown = Arrays.copyOf(pictures, Math.min(SHOWN, pictures.length));
    List<ContactSheet.Cell> originals = new ArrayList<>();
    List<ContactSheet.Cell> reconstructions = new ArrayList<>();
    each(
        model,
        shown,
        (from, x, y) -> {
          float[] before = Weights.floats(x);
          float[] after = Weights.floats(y);
          float[] psnr = Weights.floats(Quality.psnr(ReconstructionLoss.unit(x), clamped(y)));
          for (int i = 0; i < psnr.length; i++) {
            String name = set.name(shown[from + i]);
            originals.add(new ContactSheet.Cell(image(before, i), name));
            String caption = String.format(Locale.ROOT, "%.1f dB", psnr[i]);
            reconstructions.add(new ContactSheet.Cell(image(after, i), caption));
          }
        });
    int scale = Math.max(1, ENLARGED_BELOW / crop);
    int fitting = Math.min(scale, ContactSheet.largestScale(originals, SHEET_WIDTH));
    return ContactSheet.ofGroups(List.of(originals, reconstructions), width(fitting), fitting);
  }

  /** All of a row beside each other, so that a reconstruction stands below its picture. */
  private int width(int scale) {
    int gap = 16;
    return Math.max(SHEET_WIDTH, Math.min(SHOWN, pictures.length) * (crop * scale + gap) + gap);
  }

  /** A young model's pictures may hold anything; what is not a number is drawn grey. */
  private RgbImage image(float[] planes, int index) {
    int size = 3 * crop * crop;
    float[] one = Arrays.copyOfRange(planes, index * size, (index + 1) * size);
    for (int i = 0; i < size; i++) {
      if (Float.isNaN(one[i])) {
        one[i] = 0;
      }
    }
    return RgbImage.ofPlanes(one, crop, crop);
  }

  /**
   * The spread of the latents, their standard deviation over all values of all pictures, in
   * float32.
   *
   * @throws IllegalStateException if it is 0 or not finite
   */
  double latentSpread(DcAe model) throws IOException {
    double sum = 0;
    double squares = 0;
    long count = 0;
    for (int from = 0; from < pictures.length; from += batch) {
      int[] some = Arrays.copyOfRange(pictures, from, Math.min(pictures.length, from + batch));
      try (PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        Tensor x = Crops.onDevice(middles(some), 0, some.length, model.device());
        for (float value : Weights.floats(model.encode(x))) {
          sum += value;
          squares += (double) value * value;
          count++;
        }
      }
    }
    double mean = sum / count;
    double spread = Math.sqrt(Math.max(0, squares / count - mean * mean));
    if (!(spread > 0 && Double.isFinite(spread))) {
      throw new IllegalStateException(
          "latents: expected a spread above 0, found " + spread + ": they cannot be scaled");
    }
    return spread;
  }

  private void each(DcAe model, int[] which, Visit visit) throws IOException {
    for (int from = 0; from < which.length; from += batch) {
      int[] some = Arrays.copyOfRange(which, from, Math.min(which.length, from + batch));
      try (PointerScope scope = new PointerScope();
          NoGradGuard guard = new NoGradGuard()) {
        Tensor x = Crops.onDevice(middles(some), 0, some.length, model.device());
        Tensor y = Crops.reconstruct(model, x, precision);
        visit.see(from, x, y);
      }
    }
  }

  private CropBatch middles(int[] some) throws IOException {
    CropBatch made = new CropBatch(new byte[some.length * 3 * crop * crop], some, crop);
    for (int i = 0; i < some.length; i++) {
      RandomCrops.middle(set.picture(some[i]), crop, made.rgb(), i * made.cropBytes());
    }
    return made;
  }
}
