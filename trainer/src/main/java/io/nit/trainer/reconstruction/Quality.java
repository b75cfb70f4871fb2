package io.nit.trainer.reconstruction;

import org.bytedeco.pytorch.Device;
import org.bytedeco.pytorch.DeviceOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.TensorOptions;
import org.bytedeco.pytorch.TensorVector;
import org.bytedeco.pytorch.global.torch;

/**
 * How alike two pictures are, for pictures in [0, 1]. Results belong to the open {@code
 * PointerScope}.
 */
public final class Quality {
  private static final int WINDOW = 11;
  private static final double SIGMA = 1.5;
  private static final double C1 = 0.01 * 0.01;
  private static final double C2 = 0.03 * 0.03;
  private static final double SHIFT = 0.5;
  private static final double SMALLEST_ERROR = 1e-10;

  private Quality() {}

  /**
   * Peak signal-to-noise ratio: -10·log₁₀ of the mean squared error over a picture, in dB; at most
   * 100, which equal pictures have.
   *
   * @param x [batch, 3, H, W] float32
   * @param y [batch, 3, H, W] float32
   * @return [batch]
   */
  public static Tensor psnr(Tensor x, Tensor y) {
    Tensor error = x.sub(y).square().flatten(1, -1).mean(1); // [batch]
    return error.clamp_min(new Scalar(SMALLEST_ERROR)).log10().mul(new Scalar(-10.0));
  }

  /** {@link #psnr} of one mean squared error. */
  static double psnr(double squaredError) {
    return -10 * Math.log10(Math.max(SMALLEST_ERROR, squaredError));
  }

  /**
   * Structural similarity (Wang, Bovik, Sheikh and Simoncelli, 2004): with μ, σ² and σxy the means,
   * variances and covariance under a Gaussian window of 11×11 and sigma 1.5, C₁ = 0.01² and C₂ =
   * 0.03²,
   *
   * <pre>
   * (2·μx·μy + C₁)·(2·σxy + C₂) / ((μx² + μy² + C₁)·(σx² + σy² + C₂))
   * </pre>
   *
   * at every place where the window lies inside the picture, averaged over places and the three
   * channels.
   *
   * @param x [batch, 3, H, W] float32; sides of 11 or more
   * @param y [batch, 3, H, W] float32
   * @return [batch]
   */
  public static Tensor ssim(Tensor x, Tensor y) {
    long batch = x.size(0);
    // Variances do not change with a shift, and in float32 are exacter the smaller the values are.
    Tensor a = x.flatten(0, 1).unsqueeze(1).sub(new Scalar(SHIFT)); // [batch·3, 1, H, W]
    Tensor b = y.flatten(0, 1).unsqueeze(1).sub(new Scalar(SHIFT)); // [batch·3, 1, H, W]
    Tensor all = torch.cat(new TensorVector(a, b, a.square(), b.square(), a.mul(b)), 0);
    Tensor window = window(x.device()); // [11]
    Tensor means =
        torch.conv2d(torch.conv2d(all, window.view(1, 1, WINDOW, 1)), window.view(1, 1, 1, WINDOW));
    Tensor[] m = means.chunk(5, 0).get(); // 5 × [batch·3, 1, H-10, W-10]
    Tensor covariance = m[4].sub(m[0].mul(m[1]));
    Tensor variances = m[2].sub(m[0].square()).add(m[3].sub(m[1].square()));
    Tensor meanA = m[0].add(new Scalar(SHIFT));
    Tensor meanB = m[1].add(new Scalar(SHIFT));
    Tensor squares = meanA.square().add(meanB.square());
    Tensor two = meanA.mul(meanB).mul(new Scalar(2.0)).add(new Scalar(C1));
    Tensor top = two.mul(covariance.mul(new Scalar(2.0)).add(new Scalar(C2)));
    Tensor bottom = squares.add(new Scalar(C1)).mul(variances.add(new Scalar(C2)));
    return top.div(bottom).view(batch, -1).mean(1); // [batch]
  }

  /** The Gaussian, [11], of sum 1; made on the device, so that nobody waits for a copy. */
  private static Tensor window(Device device) {
    TensorOptions options =
        new TensorOptions(torch.ScalarType.Float).device(new DeviceOptional(device));
    Tensor at =
        torch.arange(new Scalar(-WINDOW / 2), new Scalar(WINDOW / 2 + 1), options); // [11]
    Tensor weights = at.square().mul(new Scalar(-1 / (2 * SIGMA * SIGMA))).exp();
    return weights.div(weights.sum());
  }
}
