package io.nit.trainer.reconstruction;

import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * How far a reconstruction is from its picture.
 *
 * <p>Legend: x the picture and y the reconstruction, [batch, 3, H, W] in [-1, 1]; e₀ = y - x;
 * e_{s+1} the mean of each 2×2 block of e_s; Δh and Δw the differences of neighbours down a column
 * and along a row; |·| the mean of absolute values over all elements.
 *
 * <ul>
 *   <li>L1 = |e₀|;
 *   <li>gradient = ¼ Σ_{s=0..3} (|Δh e_s| + |Δw e_s|), which is what edges and their blur differ
 *       in, at four scales;
 *   <li>structure = 1 - mean SSIM of (x+1)/2 and (y+1)/2, see {@link Quality#ssim}.
 * </ul>
 *
 * <p>Loss = l1·L1 + gradient·(gradient term) + ssim·structure. All of it is computed in float32.
 *
 * @param l1 weight of L1
 * @param gradient weight of the gradient term
 * @param ssim weight of the structure term, which is left out at 0
 */
public record ReconstructionLoss(double l1, double gradient, double ssim) {
  /** Scales of the gradient term. */
  public static final int SCALES = 4;

  /** How many values {@link Terms#stacked} has. */
  static final int TERMS = 5;

  /** Checks the weights. */
  public ReconstructionLoss {
    require("--l1", l1);
    require("--gradient", gradient);
    require("--ssim", ssim);
    if (l1 + gradient + ssim == 0) {
      throw new IllegalArgumentException(
          "--l1, --gradient, --ssim: expected one above 0, found none");
    }
  }

  private static void require(String flag, double weight) {
    if (!(weight >= 0 && Double.isFinite(weight))) {
      throw new IllegalArgumentException(flag + ": expected 0 or more, found " + weight);
    }
  }

  /**
   * The terms, each a float32 scalar of the open {@code PointerScope}.
   *
   * @param total what is minimised
   * @param l1 L1
   * @param gradient gradient term, before its weight
   * @param structure structure term, before its weight; 0 where it is left out
   * @param squared mean squared error of pictures in [0, 1], not a part of the loss
   */
  public record Terms(Tensor total, Tensor l1, Tensor gradient, Tensor structure, Tensor squared) {
    /** All of them in this order, [5], without their history. */
    Tensor stacked() {
      return torch.stack(
          new TensorVector(
              total.detach(),
              l1.detach(),
              gradient.detach(),
              structure.detach(),
              squared.detach()));
    }
  }

  /**
   * Computes the loss.
   *
   * @param y reconstruction, [batch, 3, H, W] of any float type; sides of 16 or more
   * @param x picture, likewise, float32
   */
  public Terms compute(Tensor y, Tensor x) {
    Tensor reconstruction = y.to(torch.ScalarType.Float);
    Tensor e = reconstruction.sub(x); // [batch, 3, H, W]
    Tensor absolute = e.abs().mean();
    Tensor edges = edges(e);
    Tensor total = absolute.mul(new Scalar(l1)).add(edges.mul(new Scalar(gradient)));
    Tensor structure = torch.zeros_like(absolute.detach());
    if (ssim > 0) {
      Tensor similarity = Quality.ssim(unit(reconstruction), unit(x)).mean();
      structure = similarity.neg().add(new Scalar(1f));
      total = total.add(structure.mul(new Scalar(ssim)));
    }
    Tensor squared = e.detach().square().mean().mul(new Scalar(0.25));
    return new Terms(total, absolute, edges, structure, squared);
  }

  private static Tensor edges(Tensor e0) {
    Tensor e = e0;
    Tensor sum = null;
    for (int s = 0; s < SCALES; s++) {
      if (s > 0) {
        e = torch.avg_pool2d(e, 2, 2); // [batch, 3, H/2ˢ, W/2ˢ]
      }
      long h = e.size(2);
      long w = e.size(3);
      Tensor down = e.narrow(2, 1, h - 1).sub(e.narrow(2, 0, h - 1)).abs().mean();
      Tensor along = e.narrow(3, 1, w - 1).sub(e.narrow(3, 0, w - 1)).abs().mean();
      Tensor both = down.add(along);
      sum = sum == null ? both : sum.add(both);
    }
    return sum.mul(new Scalar(1.0 / SCALES));
  }

  /** From [-1, 1] to [0, 1]. */
  static Tensor unit(Tensor x) {
    return x.mul(new Scalar(0.5)).add(new Scalar(0.5));
  }
}
