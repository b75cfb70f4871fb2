package io.nit.trainer.loss;

import io.nit.trainer.model.NitModel;
import io.nit.trainer.model.PackIndex;
import java.util.Optional;
import org.bytedeco.pytorch.DoubleOptional;
import org.bytedeco.pytorch.Scalar;
import org.bytedeco.pytorch.Tensor;
import org.bytedeco.pytorch.global.torch;

/**
 * The flow-matching loss of one pack, for a model that predicts velocity.
 *
 * <p>Legend: x₀ data, ε noise, t one time per image, {@code x_t = (1-t)·x₀ + t·ε}, target {@code ε
 * - x₀}. Loss = mean over tokens of the squared error's mean over C·p·p, plus the directional term,
 * the mean over tokens of {@code 1 - cos(v, target)} over C, averaged over p·p. With features z:
 * plus {@code projCoeff · (1 - mean cos(z, z_target))}. A per-token value that is NaN counts as 0,
 * an infinite one as ±1e5, as in the authors' recipe.
 *
 * @param directional whether the directional term counts
 * @param projCoeff weight of the REPA term
 */
public record FlowMatchingLoss(boolean directional, double projCoeff) {
  private static final double COSINE_EPS = 1e-8;
  private static final double INFINITE = 1e5;

  /** Checks the weight. */
  public FlowMatchingLoss {
    if (!(projCoeff >= 0 && Double.isFinite(projCoeff))) {
      throw new IllegalArgumentException("--proj-coeff: expected 0 or more, found " + projCoeff);
    }
  }

  /**
   * One pack's data and draws.
   *
   * @param latents x₀, [tokens, C, p, p]
   * @param noise ε, [tokens, C, p, p]
   * @param t [images]
   * @param labels [images] int64, the null class where a label was dropped
   * @param features z_target, [tokens, zDim], for the REPA term
   */
  public record Batch(
      Tensor latents, Tensor noise, Tensor t, Tensor labels, Optional<Tensor> features) {}

  /**
   * The terms, each a scalar.
   *
   * @param total what is minimised
   * @param flow velocity error with the directional term; not differentiated by callers
   * @param projection REPA term before its weight; empty without features
   */
  public record Terms(Tensor total, Tensor flow, Optional<Tensor> projection) {}

  /** Runs the model and computes the loss; all tensors belong to the open {@code PointerScope}. */
  public Terms compute(NitModel model, Batch batch, PackIndex pack) {
    Tensor x0 = batch.latents();
    Tensor eps = batch.noise();
    Tensor t = batch.t().index_select(0, pack.imageIndex()).view(-1, 1, 1, 1); // [tokens, 1, 1, 1]
    Tensor xt = x0.mul(t.neg().add(new Scalar(1f))).add(eps.mul(t)); // [tokens, C, p, p]
    Tensor target = eps.sub(x0); // [tokens, C, p, p]
    boolean align = batch.features().isPresent() && projCoeff > 0;
    NitModel.Output out = model.forward(xt, batch.t(), batch.labels(), pack, align);

    Tensor flow = flow(out.v(), target);
    if (!align) {
      return new Terms(flow, flow, Optional.empty());
    }
    Tensor projection = projection(batch.features().get(), out.z().orElseThrow());
    return new Terms(
        flow.add(projection.mul(new Scalar(projCoeff))), flow, Optional.of(projection));
  }

  /**
   * The velocity's loss with the directional term; a scalar, differentiable.
   *
   * @param v the model's velocity, [tokens, C, p, p]
   * @param target ε - x₀, likewise
   */
  public Tensor flow(Tensor v, Tensor target) {
    Tensor squared = v.sub(target).square().flatten(1, -1).mean(1); // [tokens]
    Tensor flow = finite(squared).mean();
    if (directional) {
      Tensor cosine = torch.cosine_similarity(v, target, 1, COSINE_EPS); // [tokens, p, p]
      Tensor angle = cosine.neg().add(new Scalar(1f)).flatten(1, -1).mean(1); // [tokens]
      flow = flow.add(finite(angle).mean());
    }
    return flow;
  }

  /**
   * The REPA term before its weight; a scalar, differentiable.
   *
   * @param target z_target, [tokens, zDim]
   * @param z the REPA head's features, likewise
   */
  public static Tensor projection(Tensor target, Tensor z) {
    Tensor cosine = torch.cosine_similarity(target, z, -1, COSINE_EPS); // [tokens]
    return finite(cosine.mean().neg().add(new Scalar(1f)));
  }

  private static Tensor finite(Tensor values) {
    return torch.nan_to_num(
        values, new DoubleOptional(0), new DoubleOptional(INFINITE), new DoubleOptional(-INFINITE));
  }
}
