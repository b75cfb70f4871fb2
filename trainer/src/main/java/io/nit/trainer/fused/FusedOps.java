package io.nit.trainer.fused;

import java.util.Optional;
import org.bytedeco.pytorch.Tensor;

/**
 * The pieces of a step. Results go into tensors that the caller gives; gradients of parameters are
 * float32 and replace what is there or are added to it ({@code accumulate}). Nothing waits for the
 * device. One caller at a time.
 *
 * <p>Legend: N tokens, B images, D hidden, W width, H heads, d headDim, T the compute type of
 * activations and weights. A modulation is a part of a row for every image, [B, D] T, rows a stride
 * apart.
 */
public interface FusedOps extends AutoCloseable {
  /**
   * Has the gradients' products leave multiprocessors to work beside them, until told otherwise. A
   * product is laid out for all that it may take, each with the same share; where others hold one,
   * its share is computed after all the rest, and the product takes twice as long.
   *
   * @param multiprocessors how many; 0 for none
   */
  default void spare(int multiprocessors) {}

  /** {@code out = x·weightᵀ + bias}: x [N, in], weight [out, in], bias [out], out [N, out]. */
  void linear(Tensor x, Tensor weight, Tensor bias, Tensor out);

  /** {@code dx = dOut·weight}: dOut [N, out], dx [N, in]. */
  void inputGradient(Tensor dOut, Tensor weight, Tensor dx);

  /** {@code gradient (+)= dOutᵀ·x}: gradient [out, in] float32. */
  void weightGradient(Tensor dOut, Tensor x, Tensor gradient, boolean accumulate);

  /** {@code gradient (+)= Σ rows}: rows [N, W] T, gradient [W] float32. */
  void biasGradient(Tensor rows, Tensor gradient, boolean accumulate);

  /** {@code out = LayerNorm(x)·(1 + scale[image]) + shift[image]}, all [N, D]. */
  void adaLn(Tensor x, Tensor shift, Tensor scale, FusedPack pack, Tensor out);

  /** {@code residual = x + gate[image]·y}, and {@link #adaLn} of that. */
  void gatedAdaLn(
      Tensor x,
      Tensor y,
      Tensor gate,
      Tensor shift,
      Tensor scale,
      FusedPack pack,
      Tensor residual,
      Tensor out);

  /**
   * Backward of {@link #adaLn}; {@code dx} gets {@code dResidual}, where there is one, on top.
   *
   * @param dx [N, D] T; may be dResidual
   * @param out [N, D] T, {@link #adaLn}'s result once more
   * @param dShift [B, D] float32, rows a stride apart
   * @param dScale likewise
   */
  void adaLnBackward(
      Tensor x,
      Tensor dOut,
      Optional<Tensor> dResidual,
      Tensor shift,
      Tensor scale,
      FusedPack pack,
      Tensor dx,
      Tensor out,
      Tensor dShift,
      Tensor dScale);

  /**
   * Backward of {@code x + gate[image]·y} towards y, gate and the bias that y has.
   *
   * @param dy [N, D] T
   * @param dGate [B, D] float32, rows a stride apart
   * @param dBias [D] float32
   */
  void gatedResidualBackward(
      Tensor dResidual,
      Tensor y,
      Tensor gate,
      FusedPack pack,
      Tensor dy,
      Tensor dGate,
      Tensor dBias,
      boolean accumulate);

  /** {@code out = gelu(x)}, tanh form. */
  void gelu(Tensor x, Tensor out);

  /**
   * Backward of {@link #gelu} and of the bias in x.
   *
   * @param dx [N, W] T; may be dOut
   * @param out [N, W] T, gelu(x) once more; may be x
   * @param dBias [W] float32
   */
  void geluBackward(Tensor x, Tensor dOut, Tensor dx, Tensor out, Tensor dBias, boolean accumulate);

  /**
   * QK-norm, where there is one, and 2-D RoPE.
   *
   * @param qkv [N, 3, H, d] T
   * @param out q and k, [N, 2, H, d] T
   */
  void rotate(Tensor qkv, Optional<QkNorm> norm, FusedPack pack, Tensor out);

  /**
   * Backward of {@link #rotate}, with dv beside dq and dk.
   *
   * @param gradients dq, dk and dv, each [N, H, d] T, dense
   * @param qkv what {@link #rotate} read
   * @param dqkv [N, 3, H, d] T
   * @param dNorm float32
   */
  void rotateBackward(
      Tensor[] gradients,
      Tensor qkv,
      Optional<QkNorm> norm,
      FusedPack pack,
      Tensor dqkv,
      Optional<QkNorm> dNorm,
      boolean accumulate);

  /**
   * Softmax attention within each image; q, k and v [N, H, d] T, headDim dense. Results belong to
   * the open {@code PointerScope}.
   */
  Attended attend(Tensor q, Tensor k, Tensor v, FusedPack pack);

  /** Backward of {@link #attend}: dq, dk and dv, each [N, H, d] T, dense. */
  default Tensor[] attendBackward(
      Tensor dOut, Tensor q, Tensor k, Tensor v, Attended attended, FusedPack pack) {
    return attendBackward(dOut, q, k, v, attended, pack, pack.whole());
  }

  /**
   * Backward of {@link #attend} for a part of the images.
   *
   * @param dOut [N, H, d] T, like q, k and v of the whole pack
   * @param part of {@code pack}
   * @return dq, dk and dv of the part's tokens, each [tokens, H, d] T, dense
   */
  Tensor[] attendBackward(
      Tensor dOut,
      Tensor q,
      Tensor k,
      Tensor v,
      Attended attended,
      FusedPack pack,
      FusedPack.Part part);

  /**
   * AdamW on clipped gradients, the average and the weights' copy in T.
   *
   * @param scalars [6] float32 on the device: factor of the gradients, 0 for no step at all, {@code
   *     lr / (1 - β₁ᵏ)}, {@code √(1 - β₂ᵏ)}, {@code 1 - lr·λ}, 1 - decay of the average
   */
  void update(UpdateTensors tensors, Tensor scalars, double beta1, double beta2, double epsilon);

  /**
   * What an update reads and changes, each [n]; float32 but for the copy.
   *
   * @param average the moving average, if there is one
   * @param copy the weights in T, if T is not float32
   */
  record UpdateTensors(
      Tensor parameters,
      Tensor gradients,
      Tensor expAvg,
      Tensor expAvgSq,
      Optional<Tensor> average,
      Optional<Tensor> copy) {}

  /** Frees scratch memory. Safe to call twice. */
  @Override
  void close();
}
