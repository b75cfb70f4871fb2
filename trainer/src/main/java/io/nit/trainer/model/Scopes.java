package io.nit.trainer.model;

import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Tensor;

/** Tensors that outlive the {@code PointerScope} that they were made in. */
public final class Scopes {
  private Scopes() {}

  /**
   * Hands a tensor to a scope further out.
   *
   * @param outer null for none: the tensor is then the caller's to release
   * @return the tensor
   */
  public static Tensor keep(Tensor tensor, PointerScope outer) {
    if (outer == null) {
      tensor.retainReference();
    } else {
      outer.attach(tensor);
    }
    return tensor;
  }
}
