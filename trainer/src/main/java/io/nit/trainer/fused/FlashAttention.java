package io.nit.trainer.fused;

import io.nit.trainer.model.Scopes;
import java.util.ArrayList;
import java.util.List;
import org.bytedeco.javacpp.PointerScope;
import org.bytedeco.pytorch.Dispatcher;
import org.bytedeco.pytorch.IValue;
import org.bytedeco.pytorch.IValueVector;
import org.bytedeco.pytorch.OperatorHandle;
import org.bytedeco.pytorch.Tensor;

/** libtorch's FlashAttention over packs; its operators have no Java methods of their own. */
final class FlashAttention {
  private static final String FORWARD = "aten::_flash_attention_forward";
  private static final String BACKWARD = "aten::_flash_attention_backward";

  private FlashAttention() {}

  /** The first results; they belong to the scope that is open around the call. */
  private static List<Tensor> call(String name, int results, IValue... arguments) {
    List<Tensor> tensors = new ArrayList<>();
    OperatorHandle operator = Dispatcher.singleton().findSchemaOrThrow(name, "");
    IValueVector stack = new IValueVector(arguments);
    operator.callBoxed(stack);
    for (int i = 0; i < results; i++) {
      tensors.add(new Tensor(stack.get(i).toTensor()));
    }
    return tensors;
  }

  /** See {@link FusedOps#attend}. */
  static Attended forward(Tensor q, Tensor k, Tensor v, Tensor cuSeqlens, long longest) {
    PointerScope outer = PointerScope.getInnerScope();
    List<Tensor> results;
    try (PointerScope scope = new PointerScope()) {
      IValue lengths = new IValue(cuSeqlens);
      results =
          call(
              FORWARD,
              4, // out, log of the weights' sum, the generator's seed and offset; a mask is left
              new IValue(q),
              new IValue(k),
              new IValue(v),
              lengths,
              lengths,
              new IValue(longest),
              new IValue(longest),
              new IValue(0.0), // dropout
              new IValue(false), // causal
              new IValue(false), // debug mask
              new IValue(), // scale: 1/√headDim
              new IValue(), // window, left and right
              new IValue(),
              new IValue(), // seqused_k
              new IValue()); // alibi slopes
      results.forEach(tensor -> Scopes.keep(tensor, outer));
    }
    return new Attended(results.get(0), results.subList(1, 4));
  }

  /** See {@link FusedOps#attendBackward}. */
  static Tensor[] backward(
      Tensor dOut,
      Tensor q,
      Tensor k,
      Tensor v,
      Attended attended,
      Tensor cuSeqlens,
      long longest) {
    PointerScope outer = PointerScope.getInnerScope();
    List<Tensor> results;
    try (PointerScope scope = new PointerScope()) {
      IValue lengths = new IValue(cuSeqlens);
      results =
          call(
              BACKWARD,
              3,
              new IValue(dOut),
              new IValue(q),
              new IValue(k),
              new IValue(v),
              new IValue(attended.out()),
              new IValue(attended.state().get(0)),
              lengths,
              lengths,
              new IValue(longest),
              new IValue(longest),
              new IValue(0.0), // dropout
              new IValue(false), // causal
              new IValue(attended.state().get(1)),
              new IValue(attended.state().get(2)),
              new IValue(), // scale
              new IValue(), // window, left and right
              new IValue());
      results.forEach(tensor -> Scopes.keep(tensor, outer));
    }
    return results.toArray(new Tensor[0]);
  }
}
